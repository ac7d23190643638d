package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/sethvargo/go-envconfig"
)

// maxDrainDelay leaves room for the requests in flight within Kubernetes' default grace period of 30 s.
const maxDrainDelay = 15 * time.Second

// Config is the storefront's environment. The names are the contract of every storefront image, so they carry no prefix.
type Config struct {
	Version        string        `env:"VERSION, default=v1"`      // shown on the page, and the label version of the metrics
	Color          string        `env:"APP_COLOR, default=white"` // background of the page: CSS colour name or #hex
	WelcomeMessage string        `env:"WELCOME_MESSAGE"`          // headline; empty: "Hello from version VERSION"
	Port           int           `env:"PORT, default=5000"`       // listens on every interface
	DrainDelay     time.Duration `env:"DRAIN_DELAY, default=3s"`  // answers for so long after SIGTERM, while routers look away
}

// readConfig reads and validates the environment. It returns every error of it at once, each by the variable's name.
func readConfig(ctx context.Context, env envconfig.Lookuper) (Config, error) {
	var config Config
	if err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: &config, Lookuper: env}); err != nil {
		return Config{}, fmt.Errorf("read the environment: %w", err)
	}
	if config.WelcomeMessage == "" {
		config.WelcomeMessage = "Hello from version " + config.Version
	}
	if err := config.Validate(); err != nil {
		return Config{}, fmt.Errorf("read the environment: %w", err)
	}
	return config, nil
}

// Validate returns every reason why the storefront cannot run with c, joined, or nil.
func (c Config) Validate() error {
	var errs []error
	if !isVersion(c.Version) {
		errs = append(errs, fmt.Errorf("VERSION %q is not a version: use letters, digits, dots, dashes and underscores, 63 at most, as in v1", c.Version))
	}
	if !isColor(c.Color) {
		errs = append(errs, fmt.Errorf("APP_COLOR %q is not a colour: use a CSS colour name as in green, or a hex value as in #2e8b57", c.Color))
	}
	if c.Port < 1 || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("PORT %d is not a port: use 1 to 65535, or leave it out for 5000", c.Port))
	}
	if c.DrainDelay < 0 || c.DrainDelay > maxDrainDelay {
		errs = append(errs, fmt.Errorf("DRAIN_DELAY %s is out of bounds: use 0s to %s", c.DrainDelay, maxDrainDelay))
	}
	return errors.Join(errs...)
}

// isVersion says whether s can be an image tag and a Kubernetes label value at once; the chart uses one string for both.
func isVersion(s string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`).MatchString(s)
}
