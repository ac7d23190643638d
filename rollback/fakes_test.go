package rollback_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// cluster is releases, routers and ledger in memory. Its one fact worth knowing:
// as on a real cluster, a revision is made at most once, a record is written only
// by whoever read its newest version, and nothing is done for a caller whose
// context has ended.
type cluster struct {
	mu       sync.Mutex
	history  map[rollback.Key]rollback.History
	records  map[rollback.Key][]rollback.Record
	versions int

	// weight is the canary's; raised notes every value it ever had.
	weight string
	raised []string
	ready  bool

	rollbacks int
	// Errors to answer with, taken from the front.
	shedErrors, rollbackErrors, saveErrors, recordErrors []error
	// afterShed runs once a shed is done; looks counts the calls of Ready.
	afterShed func()
	looks     int
	// rollbackTime is how long Helm takes; half of it passes before the new
	// revision is written.
	rollbackTime time.Duration
	// meanwhile runs while Helm works, before the new revision is written.
	meanwhile func()
}

func shop() rollback.Key { return rollback.Key{Namespace: "canary-demo", Release: "canary-demo"} }

// newCluster has the demo's release: v2 as revision 1, an hour old, and v3 as
// revision 2, a minute old, with 20% of the traffic.
func newCluster() *cluster {
	return &cluster{
		history: map[rollback.Key]rollback.History{shop(): {
			{Number: 2, UID: "uid-2", Status: rollback.StatusDeployed, Deployed: time.Now().Add(-time.Minute), Content: "c3", Versions: []string{"v3"}, Chart: "canary-demo"},
			{Number: 1, UID: "uid-1", Status: rollback.StatusSuperseded, Deployed: time.Now().Add(-time.Hour), Content: "c2", Versions: []string{"v2"}, Chart: "canary-demo"},
		}},
		records: make(map[rollback.Key][]rollback.Record),
		weight:  "20", ready: true,
	}
}

func take(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

func (c *cluster) History(ctx context.Context, k rollback.Key) (rollback.History, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.history[k]
	if !ok {
		return nil, fmt.Errorf("%s: %w", k, rollback.ErrUnknownRelease)
	}
	return slices.Clone(h), nil
}

func (c *cluster) Manifest(context.Context, rollback.Key, int) (rollback.Manifest, error) {
	return nil, nil
}

func (c *cluster) RollBack(ctx context.Context, p rollback.Plan) (int, error) {
	time.Sleep(c.rollbackTime / 2)
	if c.meanwhile != nil {
		c.meanwhile()
	}
	c.mu.Lock()
	if err := take(&c.rollbackErrors); err != nil {
		c.mu.Unlock()
		return 0, err
	}
	h := c.history[p.Key]
	if h.Accused().UID != p.Accused.UID {
		c.mu.Unlock()
		return 0, rollback.ErrMoved
	}
	target, _ := h.Named(p.Target)
	made := h.Accused().Number + 1
	h[0].Status = rollback.StatusSuperseded
	c.history[p.Key] = slices.Insert(h, 0, rollback.Revision{
		Number: made, UID: "uid-" + strconv.Itoa(made), Status: rollback.StatusDeployed, Deployed: time.Now(),
		Content: target.Content, Versions: target.Versions, Chart: target.Chart, Description: rollback.Rollback(p.Target),
	})
	c.rollbacks++
	object := map[string]any{"weight": "20"}
	p.Hold(object)
	c.set(object["weight"].(string))
	c.mu.Unlock()
	time.Sleep(c.rollbackTime / 2)
	return made, ctx.Err()
}

func (c *cluster) Ready(ctx context.Context, _ rollback.Key, _ int) (bool, string, error) {
	if err := ctx.Err(); err != nil {
		return false, "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	return c.ready, "waiting for the canary's pod", nil
}

func (c *cluster) set(weight string) {
	c.weight = weight
	c.raised = append(c.raised, weight)
}

func (c *cluster) Shed(ctx context.Context, _ rollback.Key, _ rollback.Manifest) ([]rollback.Weight, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := take(&c.shedErrors); err != nil {
		return nil, err
	}
	w := rollback.Weight{Kind: "Ingress", Name: "shop-canary", From: c.weight, To: "0"}
	if c.weight != "0" {
		c.set("0")
	}
	if c.afterShed != nil {
		c.afterShed()
		c.afterShed = nil
	}
	return []rollback.Weight{w}, nil
}

func (c *cluster) Hold(rollback.Manifest) func(rollback.Object) {
	return func(object rollback.Object) { object["weight"] = "0" }
}

func (c *cluster) Raise(ctx context.Context, _ rollback.Key, _ rollback.Manifest) ([]rollback.Weight, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set("20")
	return []rollback.Weight{{Kind: "Ingress", Name: "shop-canary", From: "0", To: "20"}}, nil
}

func (c *cluster) Records(ctx context.Context, k rollback.Key) ([]rollback.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := take(&c.recordErrors); err != nil {
		return nil, err
	}
	return c.copies(k), nil
}

// copies returns records that share nothing with the stored ones.
func (c *cluster) copies(k rollback.Key) []rollback.Record {
	all := slices.Clone(c.records[k])
	for i := range all {
		r := &all[i]
		r.Accusations, r.Decisions = slices.Clone(r.Accusations), slices.Clone(r.Decisions)
		for _, step := range []**rollback.Step{&r.Shed, &r.Rollback, &r.Raise} {
			if *step != nil {
				s := **step
				*step = &s
			}
		}
	}
	return all
}

func (c *cluster) Open(context.Context) ([]rollback.Key, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []rollback.Key
	for k, records := range c.records {
		if slices.ContainsFunc(records, func(r rollback.Record) bool { return r.Closed.IsZero() }) {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func (c *cluster) Save(ctx context.Context, r rollback.Record) (rollback.Record, error) {
	if err := ctx.Err(); err != nil {
		return r, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := take(&c.saveErrors); err != nil {
		return r, err
	}
	records := c.records[r.Key]
	i := slices.IndexFunc(records, func(o rollback.Record) bool { return o.Revision == r.Revision })
	if i < 0 && r.Version != "" || i >= 0 && records[i].Version != r.Version {
		return r, rollback.ErrConflict
	}
	c.versions++
	r.Version = strconv.Itoa(c.versions)
	if i < 0 {
		c.records[r.Key] = append(records, r)
	} else {
		records[i] = r
	}
	return r, nil
}

// record returns the stored record of a revision.
func (c *cluster) record(k rollback.Key, revision int) (rollback.Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.copies(k) {
		if r.Revision == revision {
			return r, true
		}
	}
	return rollback.Record{}, false
}

// upgrade makes a revision as somebody else would.
func (c *cluster) upgrade(version, description string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.history[shop()]
	h[0].Status = rollback.StatusSuperseded
	number := h[0].Number + 1
	c.history[shop()] = slices.Insert(h, 0, rollback.Revision{
		Number: number, UID: "uid-" + strconv.Itoa(number), Status: rollback.StatusDeployed, Deployed: time.Now(),
		Content: "c-" + version, Versions: []string{version}, Chart: "canary-demo", Description: description,
	})
}
