package handler

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/upcommerce/backout/rollback"
)

// Tokens are the files of bearer tokens, by the namespace that they are for;
// rollback.AllNamespaces is every one. A namespace with several files has several senders.
type Tokens map[string][]string

// EnvDecode reads tokens as NAMESPACE:FILE, separated by commas. go-envconfig calls it.
func (t *Tokens) EnvDecode(value string) error {
	*t = nil
	for entry := range strings.SplitSeq(value, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			namespace, file, _ := strings.Cut(entry, ":")
			t.add(strings.TrimSpace(namespace), strings.TrimSpace(file))
		}
	}
	return nil
}

func (t *Tokens) add(namespace, file string) {
	if *t == nil {
		*t = make(Tokens)
	}
	if !slices.Contains((*t)[namespace], file) {
		(*t)[namespace] = append((*t)[namespace], file)
	}
}

// validate returns an error for each entry that is not NAMESPACE:FILE.
func (t Tokens) validate() error {
	var errs []error
	for _, namespace := range slices.Sorted(maps.Keys(t)) {
		for _, file := range t[namespace] {
			if namespace != rollback.AllNamespaces && !rollback.IsNamespace(namespace) || file == "" {
				errs = append(errs, fmt.Errorf("BACKOUT_TOKENS: %q: want NAMESPACE:FILE, or *:FILE for all namespaces", namespace+":"+file))
			}
		}
	}
	return errors.Join(errs...)
}
