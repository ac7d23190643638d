package rollback

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Storage is the kind of object in which Helm stores the revisions of a release; Helm's
// variable HELM_DRIVER chooses it. The zero value is Secrets, Helm's default.
type Storage string

// The storages that backout reads and writes. Helm also has SQL.
const (
	Secrets    Storage = ""
	ConfigMaps Storage = "configmap"
)

// ErrTwoStorages says that there is a release of that name in more than one storage: each may
// be the one that runs.
var ErrTwoStorages = errors.New("a release of that name is both in Secrets and in ConfigMaps")

// Kind returns the kind of the objects.
func (s Storage) Kind() string {
	if s == ConfigMaps {
		return "ConfigMap"
	}
	return "Secret"
}

// Driver returns the value of HELM_DRIVER.
func (s Storage) Driver() string { return strings.ToLower(s.Kind()) }

// ParseStorages returns the storages that values of HELM_DRIVER name, each once. Its error
// says which values there are.
func ParseStorages(drivers []string) ([]Storage, error) {
	var all []Storage
	for _, driver := range drivers {
		switch strings.TrimSuffix(strings.TrimSpace(driver), "s") {
		case "secret":
			all = append(all, Secrets)
		case "configmap":
			all = append(all, ConfigMaps)
		case "sql":
			return nil, fmt.Errorf("%q: backout cannot read releases that Helm stores in SQL; install them with HELM_DRIVER=secret or configmap", driver)
		default:
			return nil, fmt.Errorf("%q: want secret, configmap, or both, separated by a comma", driver)
		}
	}
	if len(all) == 0 {
		return nil, errors.New(`"": want secret, configmap, or both, separated by a comma`)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// DescribeStorages names the kinds of the storages, for a sentence.
func DescribeStorages(all []Storage) string {
	var kinds []string
	for _, s := range all {
		kinds = append(kinds, s.Kind()+"s")
	}
	return strings.Join(kinds, " and ")
}
