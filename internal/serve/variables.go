package serve

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/sethvargo/go-envconfig"
)

// Prefix begins the name of every variable that backout itself reads. KUBECONFIG and
// the pod's service account, which select the cluster, are Kubernetes' own.
const Prefix = "BACKOUT_"

// variable is one environment variable, declared by a field of a struct: the tag env
// has its name without the prefix and its default, the tag desc its meaning.
type variable struct {
	name        string
	fallback    string
	description string
	value       reflect.Value
	declared    reflect.StructField
}

// ReadVariables reads the variables of a struct, and of the structs in it, into target,
// a pointer to it. It reports whether any of them is set. Its error names every
// variable that cannot be read; it validates nothing else.
func ReadVariables(ctx context.Context, env envconfig.Lookuper, target any) (bool, error) {
	set := false
	var errs []error
	for _, v := range variables(reflect.ValueOf(target).Elem()) {
		if _, ok := env.Lookup(v.name); ok {
			set = true
		}
		errs = append(errs, v.read(ctx, env))
	}
	return set, errors.Join(errs...)
}

// variables returns the variables of a struct and of the structs in it, in order.
func variables(structure reflect.Value) []variable {
	var all []variable
	for i := range structure.NumField() {
		declared := structure.Type().Field(i)
		tag, ok := declared.Tag.Lookup("env")
		if !ok {
			all = append(all, variables(structure.Field(i))...)
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		_, fallback, _ := strings.Cut(option, "default=")
		all = append(all, variable{
			name: Prefix + name, fallback: fallback, description: declared.Tag.Get("desc"),
			value: structure.Field(i), declared: declared,
		})
	}
	return all
}

// read reads this one variable with go-envconfig, which would stop at the first mistake
// in a whole struct.
func (v variable) read(ctx context.Context, env envconfig.Lookuper) error {
	alone := reflect.New(reflect.StructOf([]reflect.StructField{v.declared}))
	err := envconfig.ProcessWith(ctx, &envconfig.Config{
		Target: alone.Interface(), Lookuper: envconfig.PrefixLookuper(Prefix, env),
	})
	if err != nil {
		given, _ := env.Lookup(v.name)
		if cause := errors.Unwrap(err); cause != nil { // a type that reads itself returns its own error
			err = cause
		}
		return fmt.Errorf("%s=%q: %w", v.name, given, err)
	}
	v.value.Set(alone.Elem().Field(0))
	return nil
}
