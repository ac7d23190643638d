package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
	"github.com/upcommerce/backout/rollback/ledger"
)

// serveLimit bounds the requests that mark the targets at the start.
const serveLimit = 3 * time.Second

// maxMarks is how many namespaces are marked at a time.
const maxMarks = 8

// errMarksChanged ends a service that finds out after its start that another installation serves
// one of its targets, or that none serves one any more that was left out.
var errMarksChanged = errors.New("another installation serves other targets now")

// elsewhere are the targets' namespaces that other installations serve: installations by
// namespace.
type elsewhere map[string]string

// newMarkLedger returns a ledger for the marks of the targets.
func newMarkLedger(in Cluster, as accounts) (*ledger.Ledger, error) {
	client, err := kubernetes.NewForConfig(helm.Typed(as.impersonate(in.Config)))
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return ledger.New(ledger.Options{Client: client, Own: in.Namespace}), nil
}

// marks reads which installation serves each target. One goroutine at a time uses it.
type marks struct {
	own     string // namespace of this installation
	targets []string
	// every is how often the marks are read. A target that was left out is served again once no other
	// installation has been in its mark for back: a client that may write the mark of one target could
	// otherwise stop the work on all of them, again and again.
	every, back time.Duration
	// foreign is when another installation was last read in a target's mark.
	foreign map[string]time.Time
}

func newMarks(own string, targets []string) *marks {
	return &marks{own: own, targets: targets, every: markInterval, back: servedAgainAfter, foreign: make(map[string]time.Time)}
}

// read marks the targets as served by this installation, and returns those that another one serves.
// Of a target that could not be marked it returns what was known of it; its error is about those.
func (m *marks) read(ctx context.Context, l *ledger.Ledger, known elsewhere) (elsewhere, error) {
	ctx, cancel := context.WithTimeout(ctx, serveLimit)
	defer cancel()
	serving, errs := make([]string, len(m.targets)), make([]error, len(m.targets))
	var group errgroup.Group
	group.SetLimit(maxMarks)
	for i, namespace := range m.targets {
		group.Go(func() error {
			serving[i], errs[i] = l.Serve(ctx, namespace)
			return nil
		})
	}
	_ = group.Wait()
	now := make(elsewhere)
	maps.Copy(now, known)
	for i, namespace := range m.targets {
		switch {
		case errs[i] != nil:
		case serving[i] != "" && serving[i] != m.own:
			now[namespace], m.foreign[namespace] = serving[i], time.Now()
		case time.Since(m.foreign[namespace]) >= m.back:
			delete(now, namespace)
		}
	}
	return now, errors.Join(errs...)
}

// same reports whether these are the same targets, whichever installations serve them.
func (e elsewhere) same(other elsewhere) bool {
	return maps.EqualFunc(e, other, func(string, string) bool { return true })
}

// markInterval is how often the marks of the targets are read.
const markInterval = time.Minute

// servedAgainAfter is how long the mark of a target that was left out has to be free, or this
// installation's.
const servedAgainAfter = 10 * time.Minute

// markAgain reads the marks of all targets, and marks those that have none. It returns
// errMarksChanged if other targets than before are those of other installations.
func (s *service) markAgain(ctx context.Context) error {
	now, err := s.marks.read(ctx, s.records, s.elsewhere)
	if !now.same(s.elsewhere) {
		s.found = now
		return errMarksChanged
	}
	if s.unmarked && err != nil {
		s.log.ErrorContext(ctx, "targets are not marked as served by this backout; another installation may serve them, too", "error", err)
	}
	s.unmarked = s.unmarked && err != nil
	return nil
}

// mark reads the marks of the targets as soon as the API server answers, and then at each interval.
// It returns errMarksChanged, or nil when ctx ends.
func (s *service) mark(ctx context.Context) error {
	select {
	case <-s.answered:
	case <-ctx.Done():
		return nil
	}
	if err := s.markAgain(ctx); err != nil {
		return err
	}
	close(s.asked)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.marks.every):
		}
		if err := s.markAgain(ctx); err != nil {
			return err
		}
	}
}

// newLeftOut returns a gauge of the targets that are left out.
func newLeftOut() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "backout_target_left_out",
		Help: "Whether backout leaves a target alone because another installation serves its namespace: 1 for each such namespace, else no series.",
	}, []string{"namespace"})
}

// leave makes the service report the targets that are left out.
func (s *service) leave(others elsewhere) {
	s.elsewhere = others
	for namespace := range others {
		s.leftOut.WithLabelValues(namespace).Set(1)
	}
}

// leaveOut returns the configuration without the releases of the namespaces.
func (e elsewhere) leaveOut(c config) config {
	c.Policy.Releases = slices.DeleteFunc(slices.Clone(c.Policy.Releases), func(entry string) bool {
		namespace, _, _ := strings.Cut(entry, "/")
		return e[namespace] != ""
	})
	return c
}

// problems says for each namespace why backout does nothing there.
func (e elsewhere) problems() []string {
	var all []string
	for namespace, installation := range e {
		all = append(all, fmt.Sprintf("namespace %s is served by the backout in namespace %s, so this one leaves its releases alone; if that one is gone, "+
			"run %s", namespace, installation, rollback.UnmarkTargetCommand(namespace, ledger.PausesName)))
	}
	slices.Sort(all)
	return all
}

// logChanges logs which targets are left out that were not before, and which are served again.
func (e elsewhere) logChanges(ctx context.Context, log *slog.Logger, before elsewhere) {
	left := maps.Clone(e)
	maps.DeleteFunc(left, func(namespace, installation string) bool { return before[namespace] == installation })
	for _, p := range left.problems() {
		log.ErrorContext(ctx, "a target is left out", "reason", p)
	}
	for _, namespace := range slices.Sorted(maps.Keys(before)) {
		if e[namespace] == "" {
			log.InfoContext(ctx, "a target is served that was left out", "namespace", namespace)
		}
	}
}
