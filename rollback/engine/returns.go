package engine

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// uncachedInterval is how often the API server is read about a release whose known bad content
// may come back, if the watches do not cover it.
const uncachedInterval = time.Minute

// returns remembers of which releases known bad content may come back while its alert goes on
// firing: Alertmanager sends nothing new about such an alert until its repeat_interval, so that
// the leader itself has to look. It is safe for concurrent use; the zero value is empty.
type returns struct {
	mu       sync.Mutex
	releases map[rollback.Key]*comeback
	// serving is when the pods of a content were first seen to serve.
	serving map[servedContent]time.Time
}

// comeback is what is known of one release.
type comeback struct {
	// content is that of each record that makes it known bad, by revision.
	content map[int]string
	// suspect is the revision, by its UID, about which Prometheus was asked, and over are the
	// firings that it said are over.
	suspect string
	over    map[rollback.Episode]bool
	readAt  time.Time
}

// servedContent is the content of a release from one deployment on.
type servedContent struct {
	rollback.Key
	since time.Time
}

// note remembers what a record says.
func (t *returns) note(r rollback.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !r.MayReturn() {
		t.remove(r.Key, r.Revision)
		return
	}
	if t.releases == nil {
		t.releases = make(map[rollback.Key]*comeback)
	}
	known := t.releases[r.Key]
	if known == nil {
		known = &comeback{content: make(map[int]string)}
		t.releases[r.Key] = known
	}
	known.content[r.Revision] = r.Content
}

// forget drops what a record said that was deleted.
func (t *returns) forget(k rollback.Key, revision int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(k, revision)
}

// remove is forget with the lock held.
func (t *returns) remove(k rollback.Key, revision int) {
	known := t.releases[k]
	if known == nil {
		return
	}
	if delete(known.content, revision); len(known.content) > 0 {
		return
	}
	delete(t.releases, k)
	t.dropServing(k)
}

// dropServing forgets since when pods of the release serve. It is called with the lock held.
func (t *returns) dropServing(k rollback.Key) {
	for id := range t.serving {
		if id.Key == k {
			delete(t.serving, id)
		}
	}
}

// servingSince returns when the pods of the content were first seen to serve; the zero time if
// they were not.
func (t *returns) servingSince(id servedContent) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.serving[id]
}

// serves remembers that the pods of the content serve.
func (t *returns) serves(id servedContent, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.serving == nil {
		t.serving = make(map[servedContent]time.Time)
	}
	t.dropServing(id.Key) // one content of a release serves at a time
	t.serving[id] = now
}

// keys returns the releases to look at.
func (t *returns) keys() []rollback.Key {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.releases))
}

// mayRead reports whether the API server may be read about the release now.
func (t *returns) mayRead(k rollback.Key, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.releases[k]
	if known == nil || now.Sub(known.readAt) < uncachedInterval {
		return false
	}
	known.readAt = now
	return true
}

// isBack reports whether the newest content of the history is one that a record of an older
// revision has made known bad.
func (t *returns) isBack(k rollback.Key, h rollback.History) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.releases[k]
	if known == nil {
		return false
	}
	for revision, content := range known.content {
		if old, ok := h.Named(revision); ok && old.Content != "" {
			content = old.Content
		}
		if revision < h.Newest().Number && content == h.Newest().Content {
			return true
		}
	}
	return false
}

// notOver returns the signals about the suspect of which Prometheus has not said that they are
// over.
func (t *returns) notOver(k rollback.Key, suspect string, signals []rollback.Signal) []rollback.Signal {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.releases[k]
	if known == nil || known.suspect != suspect {
		return signals
	}
	return slices.DeleteFunc(slices.Clone(signals), func(s rollback.Signal) bool { return known.over[s.Episode()] })
}

// setOver remembers that a firing is over: if the alert fires again, Alertmanager sends it.
func (t *returns) setOver(k rollback.Key, suspect string, s rollback.Signal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.releases[k]
	if known == nil {
		return
	}
	if known.suspect != suspect {
		known.suspect, known.over = suspect, make(map[rollback.Episode]bool)
	}
	known.over[s.Episode()] = true
}
