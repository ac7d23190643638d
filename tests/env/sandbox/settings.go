package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/upcommerce/backout/tests/env/programs"
)

// Settings are the Options that the program inside reads: APIServer at its start, the others for each pod.
type Settings struct {
	Images     map[string]string `json:"images"`
	Unpullable []string          `json:"unpullable"`
	// APIServer is the path of a ready-made kube-apiserver; "": the sandbox program has its own.
	APIServer string `json:"apiServer,omitempty"`
}

// settings are those of the options and of the environment.
func (o Options) settings() Settings {
	return Settings{Images: o.Images, Unpullable: o.Unpullable, APIServer: programs.ReadyMadeAPIServer()}
}

// validate finds missing programs before a pod needs them.
func (s Settings) validate() error {
	var errs []error
	for repository, program := range s.Images {
		info, err := os.Stat(program)
		switch {
		case !filepath.IsAbs(program):
			errs = append(errs, fmt.Errorf("image %s: the path %s is not absolute", repository, program))
		case err != nil:
			errs = append(errs, fmt.Errorf("image %s: %w", repository, err))
		case info.IsDir() || info.Mode()&0o111 == 0:
			errs = append(errs, fmt.Errorf("image %s: %s is not an executable", repository, program))
		}
	}
	return errors.Join(errs...)
}

func (s Settings) write(l Layout) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(l.settings()+".new", b, 0o600)
	}
	if err == nil { // the kubelet may be reading
		err = os.Rename(l.settings()+".new", l.settings())
	}
	if err != nil {
		return fmt.Errorf("write the sandbox's settings: %w", err)
	}
	return nil
}

// ReadSettings reads the settings that Open or Take has written.
func (l Layout) ReadSettings() (Settings, error) {
	var s Settings
	b, err := os.ReadFile(l.settings())
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return Settings{}, fmt.Errorf("read the sandbox's settings: %w", err)
	}
	return s, nil
}
