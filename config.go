package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/rollback/notify"
	"github.com/upcommerce/backout/rollback/prom"
)

// prefix begins the name of every variable that backout reads for itself. Which
// cluster it works on is Kubernetes' own business: KUBECONFIG, or the pod's
// service account.
const prefix = "BACKOUT_"

// config is all of backout's configuration. The README's table is made of these
// structs: each field has its variable, its default and a desc tag.
type config struct {
	Policy     rollback.Policy
	Prometheus prom.Config
	HTTP       handler.Config
	Notify     notify.Config
	Lease      ledger.LeaseConfig
	Log        logConfig
	Namespace  string        `env:"NAMESPACE" desc:"backout's own namespace: its Lease is there, and what pauses everything. Without it, the pod's own, or that of the kubeconfig."`
	Grace      time.Duration `env:"GRACE, default=25s" desc:"Limit on finishing what is in hand after SIGTERM; keep it below the pod's terminationGracePeriodSeconds."`
}

type logConfig struct {
	Level  slog.Level `env:"LOG_LEVEL, default=info" desc:"debug, info, warn or error."`
	Format string     `env:"LOG_FORMAT, default=json" desc:"json or text."`
}

// loadConfig reads the environment and returns every mistake in it at once.
func loadConfig(ctx context.Context, env envconfig.Lookuper) (config, error) {
	var c config
	var errs []error
	for _, f := range fields(reflect.ValueOf(&c).Elem()) {
		if err := f.read(ctx, env); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		// What could not be read cannot be checked against the rest.
		return c, errors.Join(errs...)
	}
	if c.Grace <= 0 {
		errs = append(errs, fmt.Errorf("%sGRACE=%s: want a duration above zero, such as 25s", prefix, c.Grace))
	}
	if c.Log.Format != "json" && c.Log.Format != "text" {
		errs = append(errs, fmt.Errorf("%sLOG_FORMAT=%q: want json or text", prefix, c.Log.Format))
	}
	return c, errors.Join(append(errs, c.Policy.Validate(), c.Prometheus.Validate(), c.HTTP.Validate(), c.Notify.Validate(), c.Lease.Validate())...)
}

// field is one variable.
type field struct {
	name        string
	fallback    string
	description string
	value       reflect.Value
	declared    reflect.StructField
}

// fields returns the variables of a struct and of the structs in it, in order.
func fields(v reflect.Value) []field {
	var all []field
	for i := range v.NumField() {
		declared := v.Type().Field(i)
		tag, ok := declared.Tag.Lookup("env")
		if !ok {
			all = append(all, fields(v.Field(i))...)
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		_, fallback, _ := strings.Cut(option, "default=")
		all = append(all, field{
			name: prefix + name, fallback: fallback, description: declared.Tag.Get("desc"),
			value: v.Field(i), declared: declared,
		})
	}
	return all
}

// read has go-envconfig read this one variable: given the whole struct, it would
// stop at the first mistake.
func (f field) read(ctx context.Context, env envconfig.Lookuper) error {
	alone := reflect.New(reflect.StructOf([]reflect.StructField{f.declared}))
	err := envconfig.ProcessWith(ctx, &envconfig.Config{
		Target: alone.Interface(), Lookuper: envconfig.PrefixLookuper(prefix, env),
	})
	if err != nil {
		given, _ := env.Lookup(f.name)
		return fmt.Errorf("%s=%q: %w", f.name, given, errors.Unwrap(err))
	}
	f.value.Set(alone.Elem().Field(0))
	return nil
}
