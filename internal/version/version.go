// Package version says which build of backout this is.
package version

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"
)

// The build sets both, with -ldflags "-X github.com/upcommerce/backout/internal/version.version=0.1.0".
var (
	version string
	commit  string //nolint:gochecknoglobals // the linker can only set package variables
)

// Values of a build that says nothing about itself.
const (
	noVersion = "dev"
	noCommit  = "unknown"
)

// Build identifies a build. No field is empty.
type Build struct {
	// Version has no leading v: 0.1.0. It is dev if the build has no version.
	Version string `json:"version"`
	// Commit is a full Git hash, with the suffix -dirty if files had changed since; it is
	// unknown if the sources were not in a Git repository.
	Commit string `json:"commit"`
	// Go is the release of Go that compiled the program: go1.26.0.
	Go string `json:"goVersion"`
}

// Current returns the build of this program: the values that the build has set, else
// those that Go has recorded.
func Current() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describe(version, commit, info)
}

// UserAgent is the name that the program gives itself in requests: backout/0.1.0.
func (b Build) UserAgent() string { return "backout/" + b.Version }

// String is the build in one line.
func (b Build) String() string {
	return "backout " + b.Version + " (commit " + b.Commit + ", " + b.Go + ")"
}

// describe prefers the values that the build has set to those of info.
func describe(version, commit string, info *debug.BuildInfo) Build {
	recorded := info.Main.Version
	if recorded == "(devel)" {
		recorded = ""
	}
	return Build{
		Version: strings.TrimPrefix(cmp.Or(version, recorded, noVersion), "v"),
		Commit:  cmp.Or(commit, revision(info), noCommit),
		Go:      cmp.Or(info.GoVersion, runtime.Version()),
	}
}

// revision returns the commit that Go has recorded, "" if it has recorded none.
func revision(info *debug.BuildInfo) string {
	settings := make(map[string]string, len(info.Settings))
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	hash := settings["vcs.revision"]
	if hash != "" && settings["vcs.modified"] == "true" {
		hash += "-dirty"
	}
	return hash
}
