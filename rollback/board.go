package rollback

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of a board. What is beyond them is still in the ledger.
const (
	maxRows     = 2000
	maxRefusals = 100
)

// Row is a record at a glance.
type Row struct {
	Key      `json:",inline"`
	Revision int       `json:"revision"`
	Opened   time.Time `json:"opened"`
	Closed   time.Time `json:"closed,omitzero"`
	State    State     `json:"state"`
	Verdict  Verdict   `json:"verdict"`
	Reason   string    `json:"reason"`
	// Headline says what happened, in one sentence.
	Headline string `json:"headline"`
	// Calls says that a person has to do something: what Advice says.
	Calls   bool     `json:"calls,omitempty"`
	Advice  Advice   `json:"advice"`
	Alert   string   `json:"alert,omitempty"`
	Summary string   `json:"summary,omitempty"`
	Did     string   `json:"did,omitempty"`
	Target  int      `json:"target,omitempty"`
	Moments []Moment `json:"moments"`
}

// Open reports whether backout still works on the record.
func (r Row) Open() bool { return r.Closed.IsZero() }

// Glance returns the record's row.
func Glance(r Record) Row {
	row := Row{
		Key: r.Key, Revision: r.Revision, Opened: r.Opened, Closed: r.Closed, State: r.State(),
		Verdict: r.Decision().Verdict, Reason: r.Decision().Reason, Headline: r.headline(),
		Calls: r.Calls(), Advice: r.advice(),
		Did: r.Did(), Target: r.Target, Moments: r.Moments(),
	}
	if len(r.Accusations) > 0 {
		row.Alert, row.Summary = r.Accusations[0].Alert, r.Accusations[0].Summary
	}
	return row
}

// Guarded is an opted-in release with its canary's live traffic.
type Guarded struct {
	Key `json:",inline"`
	// Routes are the canary's live shares; none if no route to a canary is known.
	Routes []Share `json:"routes,omitempty"`
	// Read is when they were read last.
	Read time.Time `json:"read"`
}

// Share is the canary's share of one route's traffic.
type Share struct {
	// Route is kind and name, such as "Ingress/shop-canary".
	Route   string  `json:"route"`
	Percent float64 `json:"percent"`
}

// Refusal is what was refused without a record, of one release and for one reason.
type Refusal struct {
	// Key is what the alert named, "" where it named nothing that can exist.
	Key     `json:",inline"`
	Verdict Verdict   `json:"verdict"`
	Alert   string    `json:"alert,omitempty"`
	Reason  string    `json:"reason"`
	Count   int       `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// Board is what this process knows at a glance, for people to look at: a row of
// every record, the releases under guard, and what was refused lately. It is
// bounded, safe for concurrent use, and asks nobody anything.
type Board struct {
	mu       sync.Mutex
	rows     map[rowKey]Row
	guarded  map[string][]Guarded
	refusals []Refusal
	// news is closed and replaced whenever something changes.
	news chan struct{}
}

type rowKey struct {
	Key
	revision int
}

// View is what a board shows.
type View struct {
	// Rows are the open records, newest first, then the others.
	Rows []Row `json:"records"`
	// Guarded are in order of their names.
	Guarded []Guarded `json:"releases"`
	// Refusals are those of this process since it started, newest first.
	Refusals []Refusal `json:"refusals"`
}

// NewBoard returns an empty board.
func NewBoard() *Board {
	return &Board{rows: make(map[rowKey]Row), guarded: make(map[string][]Guarded), news: make(chan struct{})}
}

// News returns a channel that is closed at the next change.
func (b *Board) News() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.news
}

// View returns what is known now. Whoever looks keeps nobody from telling the board
// something for longer than a copy takes.
func (b *Board) View() View {
	v := b.copied()
	slices.SortFunc(v.Rows, Row.order)
	slices.SortFunc(v.Guarded, func(x, y Guarded) int { return x.compare(y.Key) })
	slices.Reverse(v.Refusals)
	return v
}

func (b *Board) copied() View {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := View{Rows: slices.Collect(maps.Values(b.rows)), Guarded: []Guarded{}, Refusals: append([]Refusal{}, b.refusals...)}
	for _, releases := range b.guarded {
		v.Guarded = append(v.Guarded, releases...)
	}
	return v
}

// order puts rows in order: open ones first, then the newest.
func (r Row) order(o Row) int {
	switch {
	case r.Open() && !o.Open():
		return -1
	case !r.Open() && o.Open():
		return 1
	}
	return cmp.Or(o.Opened.Compare(r.Opened), r.compare(o.Key), cmp.Compare(o.Revision, r.Revision))
}

func (k Key) compare(o Key) int {
	return cmp.Or(strings.Compare(k.Namespace, o.Namespace), strings.Compare(k.Release, o.Release))
}

// Notice shows a record as it is stored now.
func (b *Board) Notice(r Record) {
	row := Glance(r)
	b.change(func() {
		b.rows[rowKey{r.Key, r.Revision}] = row
		if len(b.rows) > maxRows {
			b.drop()
		}
	})
}

// Forget takes a record away that was deleted.
func (b *Board) Forget(k Key, revision int) {
	b.change(func() { delete(b.rows, rowKey{k, revision}) })
}

// Guard shows the releases of a namespace that are under guard, in place of those
// that were.
func (b *Board) Guard(namespace string, releases []Guarded) {
	b.change(func() { b.guarded[namespace] = releases })
}

// refuse counts a refusal. One that repeats another is the same, at a later time.
func (b *Board) refuse(r Refusal) {
	b.change(func() {
		r.First, r.Count = r.Last, max(r.Count, 1)
		i := slices.IndexFunc(b.refusals, func(o Refusal) bool {
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

func (b *Board) change(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	close(b.news)
	b.news = make(chan struct{})
}

// drop takes the oldest closed record away.
func (b *Board) drop() {
	var oldest rowKey
	var at time.Time
	for k, row := range b.rows {
		if !row.Open() && (at.IsZero() || row.Opened.Before(at)) {
			oldest, at = k, row.Opened
		}
	}
	delete(b.rows, oldest)
}
