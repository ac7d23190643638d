package rollback_test

import (
	"context"
	"errors"
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
	shedErrors, rollbackErrors, saveErrors, recordErrors, checkErrors, pauseErrors []error
	// beforeShed runs between the reading and the writing of a weight.
	beforeShed, beforeRaise func()
	// afterShed runs once a shed is done; looks counts the calls of Ready.
	afterShed func()
	looks     int
	// rollbackTime is how long Helm takes; half of it passes before the new
	// revision is written.
	rollbackTime time.Duration
	// readTime is how long it takes to read a history, saveTime to store a record, and
	// lookTime to look at the live route.
	readTime, saveTime, lookTime time.Duration
	// behind has Recent know nothing yet.
	behind bool
	// Nothing is at hand if unfollowed; else what is there, or, if frozen, what was
	// there then.
	unfollowed bool
	frozen     *cluster
	// meanwhile runs while Helm works, before the new revision is written.
	meanwhile func()

	outlook rollback.Outlook
	checks  int
	// beforeRollback runs before a rollback is looked ahead to.
	beforeRollback func()
	// whileChecking runs while Helm's client looks ahead.
	whileChecking func()
	routing       rollback.Routing
	paused        string
	// interrupted has Helm stop in the middle, that many times.
	interrupted int
	recovered   []int
	// prometheus answers about alerts, in order; the last answer stays.
	answers     []rollback.Confirmation
	asked       []time.Time
	answerAfter time.Duration
	traffic     float64
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
	time.Sleep(c.readTime)
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

func (c *cluster) HistoryAtHand(k rollback.Key) (rollback.History, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen != nil {
		return c.frozen.HistoryAtHand(k)
	}
	return slices.Clone(c.history[k]), !c.unfollowed && len(c.history[k]) > 0
}

func (c *cluster) RecordsAtHand(k rollback.Key) ([]rollback.Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen != nil {
		return c.frozen.RecordsAtHand(k)
	}
	return c.copies(k), !c.unfollowed
}

// freeze has what is at hand stay as it is now.
func (c *cluster) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = &cluster{history: map[rollback.Key]rollback.History{}, records: map[rollback.Key][]rollback.Record{}}
	for k, h := range c.history {
		c.frozen.history[k] = slices.Clone(h)
		c.frozen.records[k] = c.copies(k)
	}
}

func (c *cluster) Newest(ctx context.Context, k rollback.Key, revision rollback.Revision) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.history[k]; len(h) == 0 || h[0].UID != revision.UID || h[0].Number != revision.Number || h[0].Status == rollback.StatusUninstalling {
		return rollback.ErrMoved
	}
	return nil
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
	if h.Accused().UID != p.Newest.UID {
		c.mu.Unlock()
		return 0, rollback.ErrMoved
	}
	target, _ := h.Named(p.Target)
	made := h.Accused().Number + 1
	rev := rollback.Revision{
		Number: made, UID: "uid-" + strconv.Itoa(made), Status: rollback.StatusDeployed, Deployed: time.Now(),
		Content: target.Content, Versions: target.Versions, Chart: target.Chart, Description: fmt.Sprintf("Rollback to %d", p.Target),
		Claim: p.Accused.UID,
	}
	if c.interrupted > 0 {
		c.interrupted--
		rev.Status = rollback.StatusPendingRollback
		c.history[p.Key] = slices.Insert(h, 0, rev)
		c.mu.Unlock()
		return 0, errors.New("the API server is away")
	}
	for i := range h {
		if h[i].Status == rollback.StatusDeployed {
			h[i].Status = rollback.StatusSuperseded
		}
	}
	c.history[p.Key] = slices.Insert(h, 0, rev)
	c.rollbacks++
	object := map[string]any{"weight": "20"}
	if p.Hold != nil {
		p.Hold(object)
	}
	c.set(object["weight"].(string))
	c.mu.Unlock()
	time.Sleep(c.rollbackTime / 2)
	return made, ctx.Err()
}

func (c *cluster) Check(ctx context.Context, _ rollback.Plan) (rollback.Outlook, error) {
	if c.beforeRollback != nil {
		c.beforeRollback()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checks++
	if c.whileChecking != nil {
		c.whileChecking()
	}
	if err := take(&c.checkErrors); err != nil {
		return rollback.Outlook{}, err
	}
	return c.outlook, ctx.Err()
}

func (c *cluster) Recover(ctx context.Context, k rollback.Key, pending rollback.Revision) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.history[k]
	if h[0].UID != pending.UID || !h[0].Status.Pending() {
		return rollback.ErrMoved
	}
	h[0].Status, h[0].Description = rollback.StatusFailed, "it was interrupted; marked as failed"
	c.recovered = append(c.recovered, h[0].Number)
	return ctx.Err()
}

func (c *cluster) Look(ctx context.Context, _ rollback.Key, _ rollback.Manifest) (rollback.Routing, error) {
	time.Sleep(c.lookTime)
	c.mu.Lock()
	defer c.mu.Unlock()
	routing := c.routing
	if routing.Load == 0 {
		routing.Load = 1
	}
	routing.Seen = true
	routing.Weights = []rollback.Weight{{Kind: "Ingress", Name: "shop-canary", From: c.weight, To: c.weight}}
	return routing, ctx.Err()
}

// Glance does what Look does.
func (c *cluster) Glance(ctx context.Context, k rollback.Key, m rollback.Manifest) (rollback.Routing, error) {
	return c.Look(ctx, k, m)
}

func (c *cluster) Firing(ctx context.Context, _ rollback.Key, _ rollback.Accusation, at time.Time) rollback.Confirmation {
	select {
	case <-ctx.Done():
		return rollback.Confirmation{Answer: rollback.AnswerUnknown, Error: ctx.Err().Error()}
	case <-time.After(c.answerAfter):
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, at)
	answer := c.answers[0]
	if len(c.answers) > 1 {
		c.answers = c.answers[1:]
	}
	return answer
}

func (c *cluster) CanaryTraffic(context.Context, rollback.Key, time.Time) (float64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.traffic, nil
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

// now changes the cluster while an engine may look at it.
func (c *cluster) now(change func(*cluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// done is how many rollbacks there were and the canary's weight, while an engine may
// go on.
func (c *cluster) done() (rollbacks int, weight string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rollbacks, c.weight
}

func (c *cluster) set(weight string) {
	c.weight = weight
	c.raised = append(c.raised, weight)
}

func (c *cluster) Shed(ctx context.Context, _ rollback.Key, _ rollback.Manifest, still func(context.Context) error) ([]rollback.Weight, error) {
	if c.beforeShed != nil {
		c.beforeShed()
	}
	if err := asked(ctx, still); err != nil {
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

// ShedSeen does what Shed does.
func (c *cluster) ShedSeen(ctx context.Context, k rollback.Key, _ rollback.Routing, still func(context.Context) error) ([]rollback.Weight, error) {
	return c.Shed(ctx, k, nil, still)
}

func (c *cluster) Hold(ctx context.Context, _ rollback.Key, _ rollback.Manifest) (func(rollback.Object), error) {
	return zero, ctx.Err()
}

func zero(object rollback.Object) { object["weight"] = "0" }

func (c *cluster) Raise(ctx context.Context, _ rollback.Key, _ rollback.Manifest, still func(context.Context) error) ([]rollback.Weight, error) {
	if c.beforeRaise != nil {
		c.beforeRaise()
	}
	if err := asked(ctx, still); err != nil {
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

// Recent returns what Records does, unless it is behind.
func (c *cluster) Recent(ctx context.Context, k rollback.Key) ([]rollback.Record, error) {
	if c.behind {
		return nil, ctx.Err()
	}
	return c.Records(ctx, k)
}

// Since returns what Records does.
func (c *cluster) Since(ctx context.Context, r rollback.Record) ([]rollback.Record, error) {
	return c.Records(ctx, r.Key)
}

// Record fails as Records does.
func (c *cluster) Record(ctx context.Context, k rollback.Key, revision int) (rollback.Record, bool, error) {
	records, err := c.Records(ctx, k)
	i := slices.IndexFunc(records, func(r rollback.Record) bool { return r.Revision == revision })
	if err != nil || i < 0 {
		return rollback.Record{}, false, err
	}
	return records[i], true, nil
}

// copies returns records that share nothing with the stored ones.
func (c *cluster) copies(k rollback.Key) []rollback.Record {
	all := slices.Clone(c.records[k])
	for i := range all {
		r := &all[i]
		r.Accusations, r.Decisions = slices.Clone(r.Accusations), slices.Clone(r.Decisions)
		for _, step := range []**rollback.Step{&r.Shed, &r.Rollback, &r.Raise, &r.Verify} {
			if *step != nil {
				s := **step
				*step = &s
			}
		}
		if r.Hold != nil {
			h := *r.Hold
			r.Hold = &h
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
	time.Sleep(c.saveTime)
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

func (c *cluster) Delete(_ context.Context, r rollback.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records[r.Key] = slices.DeleteFunc(c.records[r.Key], func(o rollback.Record) bool { return o.UID == r.UID })
	return nil
}

func (c *cluster) Paused(ctx context.Context, _ rollback.Key) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := take(&c.pauseErrors); err != nil {
		return "", err
	}
	return c.paused, ctx.Err()
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
func (c *cluster) upgrade(version, description string) { c.revise(version, description, "") }

// revise makes a revision with that claim.
func (c *cluster) revise(version, description, claim string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.history[shop()]
	h[0].Status = rollback.StatusSuperseded
	number := h[0].Number + 1
	c.history[shop()] = slices.Insert(h, 0, rollback.Revision{
		Number: number, UID: "uid-" + strconv.Itoa(number), Status: rollback.StatusDeployed, Deployed: time.Now(),
		Content: "c-" + version, Versions: []string{version}, Chart: "canary-demo", Description: description, Claim: claim,
	})
}

// asked asks still, which may be nil.
func asked(ctx context.Context, still func(context.Context) error) error {
	if still == nil {
		return ctx.Err()
	}
	return errors.Join(still(ctx), ctx.Err())
}
