package prom

import (
	"github.com/prometheus/common/model"

	"github.com/upcommerce/backout/rollback"
)

// sighting is what the firing series of one alert show.
type sighting struct {
	// fired: one of them is the query's alert and has a level in its backout label.
	fired bool
	// level is the strongest of these levels: an alert of that level did fire.
	level rollback.Level
	// unlabelled: one of them is or may be the query's alert, and has no such label.
	unlabelled bool
	// missingLabel is a label without which one of them fired, so that its release is
	// unknown.
	missingLabel string
}

// add adds a firing series. It reports whether the series is the query's alert and has a
// level.
func (s *sighting) add(q query, labels model.LabelSet) bool {
	matches, missing := q.matches(labels)
	level := rollback.Level(labels[labelLevel])
	switch {
	case !matches && missing == "":
		return false // another alert
	case !level.Valid():
		s.unlabelled = true
		return false
	case !matches:
		s.missingLabel = max(s.missingLabel, missing)
		return false
	}
	s.fired = true
	s.level = stronger(s.level, level)
	return true
}

// stronger returns the level that requests more; "" requests nothing.
func stronger(a, b rollback.Level) rollback.Level {
	if a.WeakerThan(b) {
		return b
	}
	return a
}
