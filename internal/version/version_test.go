package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestTheBuildsFlagsComeBeforeWhatGoRecorded(t *testing.T) {
	recorded := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: version}, Settings: settings}
	}
	clean := debug.BuildSetting{Key: "vcs.modified", Value: "false"}
	dirty := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	hash := debug.BuildSetting{Key: "vcs.revision", Value: "5eed"}
	for _, tt := range []struct {
		rule            string
		version, commit string
		info            *debug.BuildInfo
		want            Build
	}{
		{"both flags are set", "0.1.0", "c0de", recorded("v0.2.0", hash, clean), Build{"0.1.0", "c0de", "go1.26.8"}},
		{"an empty flag is not set", "0.1.0", "", recorded("", hash, clean), Build{"0.1.0", "5eed", "go1.26.8"}},
		{"go install records the module's version", "", "", recorded("v0.2.0"), Build{"0.2.0", "unknown", "go1.26.8"}},
		{"go build in a clone records the commit", "", "", recorded("(devel)", hash, clean), Build{"dev", "5eed", "go1.26.8"}},
		{"changed files are visible", "", "", recorded("(devel)", hash, dirty), Build{"dev", "5eed-dirty", "go1.26.8"}},
		{"changed files without a commit are no commit", "", "", recorded("", dirty), Build{"dev", "unknown", "go1.26.8"}},
		{"go run records nothing", "", "", &debug.BuildInfo{}, Build{"dev", "unknown", runtime.Version()}},
	} {
		if got := describe(tt.version, tt.commit, tt.info); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.rule, got, tt.want)
		}
	}
}

func TestABuildInWords(t *testing.T) {
	b := Build{"0.1.0", "c0de", "go1.26.8"}
	if got, want := b.UserAgent(), "backout/0.1.0"; got != want {
		t.Errorf("the User-Agent is %q, want %q", got, want)
	}
	if got, want := b.String(), "backout 0.1.0 (commit c0de, go1.26.8)"; got != want {
		t.Errorf("one line: got %q, want %q", got, want)
	}
	if b := Current(); b.Version == "" || b.Commit == "" || b.Go == "" {
		t.Errorf("no field of the running program is empty: got %+v", b)
	}
}
