package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/rollback/helm"
	"github.com/upcommerce/backout/rollback/ledger"
)

// serveLimit bounds the requests that mark the targets at the start.
const serveLimit = 3 * time.Second

// maxMarks is how many namespaces are marked at a time.
const maxMarks = 8

// errServedElsewhere ends a service that finds out after its start that another installation
// serves one of its targets.
var errServedElsewhere = errors.New("another installation serves a target")

// elsewhere are the targets' namespaces that other installations serve: installations by
// namespace.
type elsewhere map[string]string

// markTargets marks the targets' namespaces as served by this installation, and returns
// those that another one serves. Its error is about those that could not be marked.
func markTargets(ctx context.Context, in Cluster, as accounts, namespaces []string) (elsewhere, error) {
	ctx, cancel := context.WithTimeout(ctx, serveLimit)
	defer cancel()
	client, err := kubernetes.NewForConfig(helm.Typed(as.impersonate(in.Config)))
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	marks := ledger.New(ledger.Options{Client: client, Own: in.Namespace})
	serving, errs := make([]string, len(namespaces)), make([]error, len(namespaces))
	var group errgroup.Group
	group.SetLimit(maxMarks)
	for i, namespace := range namespaces {
		group.Go(func() error {
			serving[i], errs[i] = marks.Serve(ctx, namespace)
			return nil
		})
	}
	_ = group.Wait()
	others := make(elsewhere)
	for i, namespace := range namespaces {
		if serving[i] != "" && serving[i] != in.Namespace {
			others[namespace] = serving[i]
		}
	}
	return others, errors.Join(errs...)
}

// markInterval is the time between two attempts to mark the targets that the start could not
// mark.
const markInterval = time.Minute

// markAgain marks the targets if the start could not mark all of them. It returns
// errServedElsewhere if another installation serves one.
func (s *service) markAgain(ctx context.Context) error {
	if !s.unmarked {
		return nil
	}
	others, err := markTargets(ctx, s.cluster, s.accounts, s.config.Policy.Namespaces())
	if len(others) > 0 {
		s.found = others
		return errServedElsewhere
	}
	if err != nil {
		s.log.ErrorContext(ctx, "targets are not marked as served by this backout; another installation may serve them, too", "error", err)
	}
	s.unmarked = err != nil
	return nil
}

// mark marks the targets that the start could not mark, as soon as the API server answers and
// then every minute. It returns errServedElsewhere, or nil when ctx ends.
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
		case <-time.After(markInterval):
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
			"run kubectl annotate configmap %s -n %s backout.dev/installation- and restart backout", namespace, installation, ledger.PausesName, namespace))
	}
	slices.Sort(all)
	return all
}

func (e elsewhere) log(ctx context.Context, log *slog.Logger) {
	for _, p := range e.problems() {
		log.ErrorContext(ctx, "a target is left out", "reason", p)
	}
}
