package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"
)

// maxDrainDelay leaves room for the requests in flight within Kubernetes' default grace period of 30 s.
const maxDrainDelay = 15 * time.Second

// Config is the storefront's environment. The names are the contract of every storefront image, so they have no prefix.
type Config struct {
	Version        string        `env:"VERSION, default=v1"`      // on the page, and the label version of the metrics
	Color          string        `env:"APP_COLOR, default=white"` // background of the page: CSS colour name or #hex
	WelcomeMessage string        `env:"WELCOME_MESSAGE"`          // headline; empty: "Hello from version VERSION"
	Port           int           `env:"PORT, default=5000"`       // listens on every interface
	DrainDelay     time.Duration `env:"DRAIN_DELAY, default=3s"`  // time to keep serving after SIGTERM, until routers stop sending traffic
	FaultsAdmin    bool          `env:"FAULTS_ADMIN"`             // every client of the storefront may change its faults at /faults
	Faults         Faults        // in effect from the start
}

// readConfig reads and validates the environment. It returns all errors at once, each with the variable's name.
func readConfig(ctx context.Context, env envconfig.Lookuper) (Config, error) {
	var config Config
	// A variable that cannot be parsed keeps its default, so that the others can be validated.
	if err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: &config, Lookuper: envconfig.MapLookuper(nil)}); err != nil {
		return Config{}, fmt.Errorf("set the defaults: %w", err)
	}
	unreadable := readFields(ctx, env, reflect.ValueOf(&config).Elem())
	if config.WelcomeMessage == "" {
		config.WelcomeMessage = "Hello from version " + config.Version
	}
	if err := errors.Join(unreadable, config.Validate()); err != nil {
		return Config{}, fmt.Errorf("read the environment: %w", err)
	}
	return config, nil
}

// readFields reads the variables of a struct's fields, and of nested structs, one by one: given the whole struct, envconfig
// stops at the first that it cannot parse.
func readFields(ctx context.Context, env envconfig.Lookuper, fields reflect.Value) error {
	var errs []error
	for i := range fields.NumField() {
		field := fields.Type().Field(i)
		tag, ok := field.Tag.Lookup("env")
		if !ok {
			errs = append(errs, readFields(ctx, env, fields.Field(i)))
			continue
		}
		alone := reflect.New(reflect.StructOf([]reflect.StructField{field}))
		if err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: alone.Interface(), Lookuper: env}); err != nil {
			name, _, _ := strings.Cut(tag, ",")
			given, _ := env.Lookup(name)
			errs = append(errs, fmt.Errorf("%s %q cannot be read: %s", name, given, spelling(fields.Field(i).Interface())))
			continue
		}
		fields.Field(i).Set(alone.Elem().Field(0))
	}
	return errors.Join(errs...)
}

// spelling returns a hint for a value of the type of v.
func spelling(v any) string {
	switch v.(type) {
	case bool:
		return "use true or false"
	case int:
		return "use a whole number"
	case float64:
		return "use a number, as in 0.5"
	default:
		return "use a number with its unit, as in 250ms or 30s"
	}
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
	return errors.Join(append(errs, c.Faults.Validate())...)
}

// isVersion reports whether s is both a valid image tag and a valid Kubernetes label value; the chart uses one string for both.
func isVersion(s string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`).MatchString(s)
}
