package prom_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sethvargo/go-envconfig"

	"github.com/upcommerce/backout/rollback/prom"
)

func load(t *testing.T, env map[string]string) prom.Config {
	t.Helper()
	var c prom.Config
	err := envconfig.ProcessWith(context.WithoutCancel(t.Context()), &envconfig.Config{
		Target: &c, Lookuper: envconfig.PrefixLookuper("BACKOUT_", envconfig.MapLookuper(env)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfig(t *testing.T) {
	got := load(t, map[string]string{
		"BACKOUT_PROMETHEUS_URLS": "http://a:9090, https://b/prometheus/", "BACKOUT_PROMETHEUS_TOKEN_FILE": "/token",
		"BACKOUT_PROMETHEUS_CA_FILE": "/ca", "BACKOUT_TRAFFIC_QUERY": `x{n="$namespace",r="$release"}`,
	})
	want := prom.Config{
		URLs: []string{"http://a:9090", "https://b/prometheus/"}, TokenFile: "/token", CAFile: "/ca",
		TrafficQuery: `x{n="$namespace",r="$release"}`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the environment is read unchanged: want %+v, got %+v", want, got)
	}
	for _, c := range []prom.Config{got, {}} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v is valid: got %v", c, err)
		}
	}
}

func TestValidate(t *testing.T) {
	const address = "address 1: want http://host:port"
	for _, c := range []struct {
		what   string
		config prom.Config
		says   []string
	}{
		{"no scheme", prom.Config{URLs: []string{"prometheus:9090"}}, []string{"BACKOUT_PROMETHEUS_URLS: " + address}},
		{"another scheme", prom.Config{URLs: []string{"ftp://prometheus"}}, []string{address}},
		{"no host", prom.Config{URLs: []string{"http://"}}, []string{address}},
		{"no URL", prom.Config{URLs: []string{"http://a:sesame@b c"}}, []string{address}},
		{"parameters", prom.Config{URLs: []string{"http://a?token=sesame"}}, []string{address}},
		{"twice", prom.Config{URLs: []string{"http://a:1", "http://a:1"}}, []string{"address 2 (a:1) is listed twice"}},
		{"several mistakes", prom.Config{URLs: []string{"a", "b"}, TrafficQuery: "x"}, []string{address, "address 2:", "$namespace", "$release"}},
		{
			"a password and a token",
			prom.Config{URLs: []string{"http://reader:sesame@a"}, TokenFile: "/token"},
			[]string{"address 1 (a) contains a password", "BACKOUT_PROMETHEUS_TOKEN_FILE"},
		},
		{"a token without a server", prom.Config{TokenFile: "/token"}, []string{"need BACKOUT_PROMETHEUS_URLS"}},
		{"a CA without https", prom.Config{URLs: []string{"http://a"}, CAFile: "/ca"}, []string{"BACKOUT_PROMETHEUS_CA_FILE has no effect"}},
		{
			"a query that counts every release",
			prom.Config{TrafficQuery: `x{namespace="$namespace"}`},
			[]string{"BACKOUT_TRAFFIC_QUERY does not contain $release"},
		},
		{"a query without quotes", prom.Config{TrafficQuery: `x{a="$namespace",b= $release}`}, []string{"= $release is not in quotes"}},
	} {
		err := c.config.Validate()
		if err == nil {
			t.Errorf("%s is a mistake", c.what)
			continue
		}
		for _, says := range c.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: want %q in: %v", c.what, says, err)
			}
		}
		if strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: an error contains no passwords: %v", c.what, err)
		}
	}
}

func TestNewReadsItsFiles(t *testing.T) {
	folder := t.TempDir()
	empty := filepath.Join(folder, "empty")
	write(t, empty, " \n")
	for _, c := range []struct {
		what   string
		config prom.Config
		says   string
	}{
		{"no server", prom.Config{}, "BACKOUT_PROMETHEUS_URLS is not set"},
		{"not valid", prom.Config{URLs: []string{"a"}}, "BACKOUT_PROMETHEUS_URLS: address 1"},
		{"no token", prom.Config{URLs: []string{"http://a"}, TokenFile: folder + "/none"}, "BACKOUT_PROMETHEUS_TOKEN_FILE: open " + folder},
		{"an empty token", prom.Config{URLs: []string{"http://a"}, TokenFile: empty}, "BACKOUT_PROMETHEUS_TOKEN_FILE: " + empty + " is empty"},
		{"no CAs", prom.Config{URLs: []string{"https://a"}, CAFile: folder + "/none"}, "BACKOUT_PROMETHEUS_CA_FILE: "},
		{"CAs that are not certificates", prom.Config{URLs: []string{"https://a"}, CAFile: empty}, "BACKOUT_PROMETHEUS_CA_FILE: "},
	} {
		if _, err := prom.New(prom.Options{Config: c.config}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s is an error of New: want %q, got %v", c.what, c.says, err)
		}
	}
}

func TestLogValue(t *testing.T) {
	var out bytes.Buffer
	c := prom.Config{URLs: []string{"http://reader:sesame@a:9090/p/", "sesame"}, TokenFile: "/token"}
	slog.New(slog.NewTextHandler(&out, nil)).Info("start", "policy", c)
	if got := out.String(); strings.Contains(got, "sesame") || strings.Contains(got, "reader") || !strings.Contains(got, `"[a:9090/p ?]"`) {
		t.Errorf("the log has the servers, and no passwords: %s", got)
	}
}
