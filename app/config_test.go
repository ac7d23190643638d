package main

import (
	"strings"
	"testing"
	"time"

	"github.com/sethvargo/go-envconfig"
)

func TestConfigDefaults(t *testing.T) {
	config, err := readConfig(t.Context(), envconfig.MapLookuper(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{Version: "v1", Color: "white", WelcomeMessage: "Hello from version v1", Port: 5000, DrainDelay: 3 * time.Second}
	if config != want {
		t.Errorf("an empty environment gives %+v, want %+v", config, want)
	}
}

func TestColors(t *testing.T) {
	for _, color := range []string{"white", "Green", "yellow", "rebeccapurple", "#fff", "#2E8B57", "#2e8b57cc"} {
		if !isColor(color) {
			t.Errorf("%q is a colour and is refused", color)
		}
	}
	for _, color := range []string{"", " ", "red ", "reddish", "#ff", "#fffff", "#ggg", "fff", "rgb(1,2,3)", "red;", "red\n", `red;}</style><script>`, "url(//evil)", "white black"} {
		if isColor(color) {
			t.Errorf("%q is no colour and is accepted", color)
		}
	}
}

func TestBadEnvironmentIsRefusedWithAHint(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want []string
	}{
		{"hostile colour", map[string]string{"APP_COLOR": `red;}</style><script>`}, []string{"APP_COLOR", "use a CSS colour name"}},
		{"empty colour", map[string]string{"APP_COLOR": ""}, []string{"APP_COLOR", "use a CSS colour name"}},
		{"hostile version", map[string]string{"VERSION": `v1"} 1`}, []string{"VERSION", "use letters, digits"}},
		{"empty version", map[string]string{"VERSION": ""}, []string{"VERSION", "use letters, digits"}},
		{"version too long for a label", map[string]string{"VERSION": strings.Repeat("v", 64)}, []string{"VERSION", "63 at most"}},
		{"no port", map[string]string{"PORT": "70000"}, []string{"PORT 70000", "use 1 to 65535"}},
		{"drain longer than the grace period", map[string]string{"DRAIN_DELAY": "1h"}, []string{"DRAIN_DELAY", "use 0s to 15s"}},
		{"not a number", map[string]string{"PORT": "http"}, []string{"Port", "http"}},
		{"several at once", map[string]string{"APP_COLOR": "reddish", "PORT": "0", "VERSION": "-"}, []string{"APP_COLOR", "PORT", "VERSION"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readConfig(t.Context(), envconfig.MapLookuper(tt.env))
			if err == nil {
				t.Fatalf("%v is accepted", tt.env)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
}
