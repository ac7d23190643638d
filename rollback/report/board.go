package report

import (
	"maps"
	"slices"
	"sync"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of a board. Records beyond them are still in the ledger.
const (
	maxRows     = 2000
	maxRefusals = 100
)

// Board is what this process knows without a request, for readers of the status page
// and of the metrics: a row for every record, the opted-in releases, and the last
// refusals. It is bounded and safe for concurrent use.
type Board struct {
	mu       sync.Mutex
	rows     map[rowKey]Row
	releases map[string][]rollback.GuardedRelease
	refusals []rollback.Refusal
	// changed is closed and replaced at each change.
	changed chan struct{}
}

type rowKey struct {
	rollback.Key
	revision int
}

// View is a copy of what a board shows.
type View struct {
	// Rows are the open records, newest first, then the others.
	Rows []Row `json:"records"`
	// Releases are the opted-in ones, sorted by name.
	Releases []rollback.GuardedRelease `json:"releases"`
	// Refusals are those of this process since it started, newest first.
	Refusals []rollback.Refusal `json:"refusals"`
}

// NewBoard returns an empty board.
func NewBoard() *Board {
	return &Board{rows: make(map[rowKey]Row), releases: make(map[string][]rollback.GuardedRelease), changed: make(chan struct{})}
}

// Changed returns a channel that is closed at the next change.
func (b *Board) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// View returns what the board shows now. It blocks writers only while it copies.
func (b *Board) View() View {
	v := b.snapshot()
	slices.SortFunc(v.Rows, Row.compare)
	slices.SortFunc(v.Releases, func(x, y rollback.GuardedRelease) int { return x.Compare(y.Key) })
	slices.Reverse(v.Refusals)
	return v
}

func (b *Board) snapshot() View {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := View{Rows: slices.Collect(maps.Values(b.rows)), Releases: []rollback.GuardedRelease{}, Refusals: append([]rollback.Refusal{}, b.refusals...)}
	for _, releases := range b.releases {
		v.Releases = append(v.Releases, releases...)
	}
	return v
}

// SetRecord shows a record as it is stored now. Beyond the bound the oldest record of the
// namespace that has the most is dropped, a closed one if there is one.
func (b *Board) SetRecord(r rollback.Record) {
	row := NewRow(r)
	b.update(func() {
		b.rows[rowKey{r.Key, r.Revision}] = row
		if len(b.rows) > maxRows {
			b.dropOldest()
		}
	})
}

// DeleteRecord removes a record that was deleted.
func (b *Board) DeleteRecord(k rollback.Key, revision int) {
	b.update(func() { delete(b.rows, rowKey{k, revision}) })
}

// SetReleases replaces the opted-in releases of a namespace.
func (b *Board) SetReleases(namespace string, releases []rollback.GuardedRelease) {
	b.update(func() { b.releases[namespace] = releases })
}

// AddRefusal adds a refusal, or counts one more of the same.
func (b *Board) AddRefusal(r rollback.Refusal) {
	b.update(func() {
		r.First, r.Count = r.Last, max(r.Count, 1)
		i := slices.IndexFunc(b.refusals, func(o rollback.Refusal) bool {
			return o.Key == r.Key && o.Verdict == r.Verdict && o.Alert == r.Alert && o.Reason == r.Reason
		})
		if i >= 0 {
			r.First, r.Count = b.refusals[i].First, b.refusals[i].Count+r.Count
			b.refusals = slices.Delete(b.refusals, i, i+1)
		}
		b.refusals = append(b.refusals, r)
		b.refusals = b.refusals[max(0, len(b.refusals)-maxRefusals):]
	})
}

func (b *Board) update(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	close(b.changed)
	b.changed = make(chan struct{})
}

// dropOldest drops the oldest closed record of the namespace that has the most, or else its
// oldest open one: one that is full of records takes no row of another.
func (b *Board) dropOldest() {
	rows := make(map[string]int)
	most := ""
	for k := range b.rows {
		if rows[k.Namespace]++; rows[k.Namespace] > rows[most] {
			most = k.Namespace
		}
	}
	var oldest rowKey
	var dropped Row
	for k, row := range b.rows {
		if k.Namespace == most && (oldest == rowKey{} || row.compare(dropped) > 0) {
			oldest, dropped = k, row
		}
	}
	delete(b.rows, oldest)
}
