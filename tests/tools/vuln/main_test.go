package main

import (
	"testing"
	"time"
)

func TestAnOldDatabaseIsNamed(t *testing.T) {
	const day = 24 * time.Hour
	at := time.Date(2026, time.November, 5, 23, 49, 57, 0, time.UTC)
	for _, c := range []struct {
		rule            string
		age, maxAge     time.Duration
		warned, refused bool
	}{
		{"a new one is used", 29 * day, 0, false, false},
		{"an old one is used with a warning", 31 * day, 0, true, false},
		{"an old one is no base for a release", 31 * day, 30 * day, false, true},
		{"a new one is", 29 * day, 30 * day, false, false},
	} {
		warning, err := checkAge("v0.0.0-20261105234957-e22db6528018", at.Add(c.age), c.maxAge)
		if (warning != "") != c.warned || (err != nil) != c.refused {
			t.Errorf("%s: got %q, %v", c.rule, warning, err)
		}
	}
	if _, err := checkAge("v1.2.3", at, 0); err == nil {
		t.Error("a version without a time has no age")
	}
}
