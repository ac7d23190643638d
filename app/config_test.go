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

func TestFaultsFromTheEnvironment(t *testing.T) {
	config, err := readConfig(t.Context(), envconfig.MapLookuper(map[string]string{
		"FAULT_ERROR_SHARE": "0.5", "FAULT_LATENCY": "250ms", "FAULT_LATENCY_JITTER": "1.5s", "FAULT_CRASH_AFTER": "2m",
		"FAULT_LATENCY_FOR": "40s", "FAULT_NEVER_READY": "true", "FAULT_SILENT": "1", "FAULTS_ADMIN": "true",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := Faults{
		ErrorShare: .5, Latency: Duration(250 * time.Millisecond), LatencyJitter: Duration(1500 * time.Millisecond),
		LatencyFor: Duration(40 * time.Second), CrashAfter: Duration(2 * time.Minute), NeverReady: true, Silent: true,
	}
	if config.Faults != want || !config.FaultsAdmin {
		t.Errorf("the faults are %+v, want %+v, and FAULTS_ADMIN on", config.Faults, want)
	}
}

func TestColors(t *testing.T) {
	for _, color := range []string{"white", "Green", "yellow", "rebeccapurple", "#fff", "#2E8B57", "#2e8b57cc"} {
		if !isColor(color) {
			t.Errorf("%q is a colour, but isColor refuses it", color)
		}
	}
	for _, color := range []string{"", " ", "red ", "reddish", "#ff", "#fffff", "#ggg", "fff", "rgb(1,2,3)", "red;", "red\n", `red;}</style><script>`, "url(//evil)", "white black"} {
		if isColor(color) {
			t.Errorf("%q is not a colour, but isColor accepts it", color)
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
		{"not a number", map[string]string{"PORT": "http"}, []string{"PORT", "http", "use a whole number"}},
		{"share above one", map[string]string{"FAULT_ERROR_SHARE": "50"}, []string{"FAULT_ERROR_SHARE", "use 0 to 1"}},
		{"share that is not a number", map[string]string{"FAULT_ERROR_SHARE": "NaN"}, []string{"FAULT_ERROR_SHARE", "use 0 to 1"}},
		{"share in percent", map[string]string{"FAULT_ERROR_SHARE": "50%"}, []string{"FAULT_ERROR_SHARE", "50%", "use a number, as in 0.5"}},
		{"latency without unit", map[string]string{"FAULT_LATENCY": "200"}, []string{"FAULT_LATENCY", "200", "with its unit"}},
		{"latency longer than a drain", map[string]string{"FAULT_LATENCY": "10s"}, []string{"FAULT_LATENCY", "use 0s to 9s"}},
		{"latency and jitter longer than a drain", map[string]string{"FAULT_LATENCY": "5s", "FAULT_LATENCY_JITTER": "5s"}, []string{"FAULT_LATENCY_JITTER", "9s, less the latency"}},
		{"latency that has ended", map[string]string{"FAULT_LATENCY_FOR": "-1s"}, []string{"FAULT_LATENCY_FOR", "0s for good"}},
		{"crash in the past", map[string]string{"FAULT_CRASH_AFTER": "-1s"}, []string{"FAULT_CRASH_AFTER", "0s for never"}},
		{"switch in words", map[string]string{"FAULT_SILENT": "yes"}, []string{"FAULT_SILENT", "yes", "use true or false"}},
		{"unreadable and out of bounds at once", map[string]string{"FAULT_NEVER_READY": "on", "FAULTS_ADMIN": "on", "FAULT_CRASH_AFTER": "soon", "FAULT_ERROR_SHARE": "-1", "PORT": "x", "APP_COLOR": "x"}, []string{"FAULT_NEVER_READY", "FAULTS_ADMIN", "FAULT_CRASH_AFTER", "FAULT_ERROR_SHARE", "PORT", "APP_COLOR"}},
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
