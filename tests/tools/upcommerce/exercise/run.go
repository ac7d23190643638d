package exercise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/env/stage"
)

// patience is the time limit of a step, in addition to the window.
const patience = 5 * time.Minute

// run is one run of the exercise.
type run struct {
	*Ground
	out io.Writer
	bar *progress.Progress

	began   time.Time
	answers Answers
	// share is the canary's part of the original requests, failedManually the number of
	// requests that failed during the manual rollback, and automatic the canaries that
	// backout rolled back.
	share          int
	failedManually int
	automatic      []backedOut
	// replaced is when the last v3 was replaced.
	replaced time.Time

	shoppers *stage.Shoppers
	home     func()
}

// step is a step of the exercise.
type step struct {
	title, proves string
	do            func(ctx context.Context) error
}

// Do does the whole exercise, prints to out what each step proves, and returns the
// answers. It stops at the first step that fails.
func Do(ctx context.Context, g *Ground, out io.Writer, bar *progress.Progress) (*Answers, error) {
	r := &run{Ground: g, out: out, bar: bar, began: time.Now(), home: func() {}}
	defer func() { r.home() }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-g.Ended:
			cancel(errors.New("backout ended by itself during the exercise"))
		case <-ctx.Done():
		}
	}()
	for i, s := range []step{
		{"v1 with the canary v2", "both versions serve their pages and metrics, 80:20", r.install8020},
		{"Monitoring", "Prometheus scrapes both tracks and evaluates the rules, and both dashboards have data", r.monitor},
		{"The canary becomes v3", "a new canary does not restart the stable track", r.v3},
		{"A manual rollback to v2", "helm rollback works, and how long it takes", r.manualRollback},
		{"A slow v3", "after an alert about latency, backout takes it out of rotation and rolls it back", r.slow},
		{"A failing v3", "backout does the same after an alert about errors", r.failing},
		{"Afterwards", "the storefront is as it was, and how much of the error budget is left", r.afterwards},
	} {
		fmt.Fprintf(out, "\n%d. %s\n   proves that: %s\n", i+1, s.title, s.proves)
		if err := r.within(ctx, s); err != nil {
			return nil, fmt.Errorf("step %d, %s: %w", i+1, strings.ToLower(s.title), err)
		}
		bar.End()
	}
	r.answers.At, r.answers.On = time.Now(), append(slices.Clone(g.On), g.scraped(ctx)...)
	r.observe()
	return &r.answers, nil
}

func (r *run) within(ctx context.Context, s step) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Window+patience, errors.New("it took too long"))
	defer cancel()
	if err := s.do(ctx); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

// printf prints an indented line about a step.
func (r *run) printf(format string, args ...any) {
	fmt.Fprintf(r.out, "   "+format+"\n", args...)
}

// stroll starts new shoppers, and stops those before.
func (r *run) stroll(ctx context.Context) {
	before := r.home
	shoppers := r.Shoppers()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var out sync.WaitGroup
	out.Go(func() { shoppers.Stroll(ctx, perSecond) })
	r.shoppers, r.home = shoppers, sync.OnceFunc(func() { cancel(); out.Wait() })
	before()
}

// canaryOf returns the values of a canary; its weight is the chart's default of 20.
func canaryOf(tag, colour string, more ...string) []string {
	return append([]string{"canary.image.tag=" + tag, "config.canary.appColor=" + colour}, more...)
}

func (r *run) install8020(ctx context.Context) error {
	r.bar.Begin("helm: installing canary-demo, v1 with the canary v2")
	if err := r.install(ctx, canaryOf("v2", "green")...); err != nil {
		return err
	}
	if err := r.rolledOut(ctx, "v1", "v2"); err != nil {
		return err
	}
	if err := errors.Join(r.pages(ctx, "v2", "green"), Metrics(ctx, r.Shoppers(), "v1", "v2")); err != nil {
		return err
	}
	r.printf("/metrics of both has http_requests_total by version, process_cpu_seconds_total, process_resident_memory_bytes")
	return r.split(ctx, "v2")
}

// rolledOut waits until the pods are ready and the router serves these versions.
func (r *run) rolledOut(ctx context.Context, versions ...string) error {
	r.bar.Begin("waiting for the pods")
	client, err := r.client()
	if err != nil {
		return err
	}
	if err := stage.AwaitRollout(ctx, client, Namespace); err != nil {
		return err
	}
	return r.Shoppers().AwaitOpen(ctx, versions...)
}

func (r *run) pages(ctx context.Context, version, colour string) error {
	if err := Pages(ctx, r.Shoppers(), map[string]string{"v1": "white", version: colour}); err != nil {
		return err
	}
	r.printf("pages: v1 is white, %s is %s", version, colour)
	return nil
}

func (r *run) split(ctx context.Context, version string) error {
	r.bar.Begin(fmt.Sprintf("measuring the split over %d requests", measured))
	split, err := Split(ctx, r.Shoppers(), version)
	r.bar.End()
	r.printf("%s", split)
	return err
}

// deployed returns the deployed revision of the release.
func (r *run) deployed(ctx context.Context) (int, error) {
	text, err := r.Helm(ctx, "history", Release, "--namespace", Namespace, "--output", "json")
	if err != nil {
		return 0, err
	}
	var history []struct {
		Revision int    `json:"revision"`
		Status   string `json:"status"`
	}
	if err := json.Unmarshal([]byte(text), &history); err != nil {
		return 0, fmt.Errorf("read the release's history: %w", err)
	}
	for _, h := range history {
		if h.Status == "deployed" {
			return h.Revision, nil
		}
	}
	return 0, fmt.Errorf("no revision of %s is deployed", Release)
}
