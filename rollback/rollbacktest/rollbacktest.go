// Package rollbacktest contains what the tests of several packages share: a release, a
// time, a policy, and access to the sections of txtar archives.
package rollbacktest

import (
	"time"

	"golang.org/x/tools/txtar"

	"github.com/upcommerce/backout/rollback"
)

// Shop returns the release of the demo.
func Shop() rollback.Key { return rollback.Key{Namespace: "canary-demo", Release: "canary-demo"} }

// Now returns the time at which the scenarios take place.
func Now() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) }

// Policy returns the documented defaults, with every release of canary-demo opted in.
func Policy() rollback.Policy {
	return rollback.Policy{
		Releases: []string{"canary-demo/*"}, Mode: rollback.ModeAct, Settle: 7 * time.Minute, Repeat: 6 * time.Minute,
		Cooldown: 10 * time.Minute, Bake: 24 * time.Hour, OperationLimit: time.Hour, RollbackTimeout: 5 * time.Minute,
		ConfirmLimit: 2 * time.Minute, StormReleases: 5, StormWindow: 10 * time.Minute, MaxLoad: 2,
		Verify: 2 * time.Minute, VerifyLimit: 10 * time.Minute, TrafficFloor: 0.1,
		KeepRecords: 10, KeepRecordsFor: 90 * 24 * time.Hour,
		Windows: map[string]time.Duration{
			"CanaryErrorRatio":   3 * time.Minute,
			"CanaryLatency":      3 * time.Minute,
			"CanaryLatencyTail":  3 * time.Minute,
			"CanaryCrashLooping": 3 * time.Minute,
			"CanaryImagePull":    4 * time.Minute,
			"CanaryNotReady":     3 * time.Minute,
			"CanarySilent":       3 * time.Minute,
			"CanaryUnreachable":  3 * time.Minute,
		},
	}
}

// Section returns the file of the archive with that name; "" if it has no such file.
func Section(archive *txtar.Archive, name string) string {
	for _, f := range archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// SetSection replaces the file of the archive with that name, or adds it.
func SetSection(archive *txtar.Archive, name, text string) {
	for i, f := range archive.Files {
		if f.Name == name {
			archive.Files[i].Data = []byte(text)
			return
		}
	}
	archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(text)})
}
