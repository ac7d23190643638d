package ledger_test

import (
	"strings"
	"testing"

	"github.com/sethvargo/go-envconfig"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/upcommerce/backout/rollback/ledger"
)

func TestLeaseConfig(t *testing.T) {
	for _, c := range []struct {
		name                   string
		duration, renew, retry string
		want                   []string
	}{
		{"the defaults", "", "", "", nil},
		{"slower", "15s", "10s", "2s", nil},
		{"nothing", "0s", "-1s", "0s", []string{"LEASE_DURATION=0s", "LEASE_RENEW=-1s", "LEASE_RETRY=0s"}},
		{"a part of a second", "6500ms", "4s", "500ms", []string{"LEASE_DURATION=6.5s", "whole seconds"}},
		{"no time for a second try", "", "600ms", "500ms", []string{"LEASE_RENEW=600ms", "LEASE_RETRY"}},
		{"renewal ends too close to the lease", "", "4800ms", "500ms", []string{"5.3s", "LEASE_DURATION, 5s"}},
		{"two mistakes at once", "3500ms", "4s", "500ms", []string{"whole seconds", "five sixths"}},
	} {
		env := map[string]string{}
		for variable, value := range map[string]string{"LEASE_DURATION": c.duration, "LEASE_RENEW": c.renew, "LEASE_RETRY": c.retry} {
			if value != "" {
				env[variable] = value
			}
		}
		var config ledger.LeaseConfig
		if err := envconfig.ProcessWith(t.Context(), &envconfig.Config{Target: &config, Lookuper: envconfig.MapLookuper(env)}); err != nil {
			t.Fatal(err)
		}
		err := config.Validate()
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v", c.name, err)
		}
		for _, want := range c.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error names the variable and what is wrong: want %q, got %v", c.name, want, err)
			}
		}
		_, made := ledger.NewLease(ledger.LeaseOptions{Client: &fake.Clientset{}, Namespace: "backout", Identity: "a", Config: config})
		if (made == nil) != (err == nil) {
			t.Errorf("%s: NewLease refuses a wrong configuration: got %v", c.name, made)
		}
	}
	for _, o := range []ledger.LeaseOptions{{Namespace: "backout"}, {Identity: "a"}} {
		o.Client, o.Config = &fake.Clientset{}, defaults(t)
		if _, err := ledger.NewLease(o); err == nil {
			t.Errorf("a lease needs a namespace and an identity: %+v", o)
		}
	}
}
