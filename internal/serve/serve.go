package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// serve listens and works until ctx ends. It then stops listening first, so that every
// signal that was answered with 2xx is stored, and gives the current steps the rest of
// the grace period. Steps that are unfinished then stay in their records for the next
// leader. If the lease is lost, serve returns an error at once. If other
// installations serve other targets than before, serve finishes the current work and returns
// errMarksChanged.
func (s *service) serve(ctx context.Context) error {
	webhook, ops, err := s.listen(ctx)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(webhook, ops) }()
	work := begin(context.WithoutCancel(ctx), s.work)
	defer work.stop()
	lead := begin(context.WithoutCancel(ctx), s.lead)
	defer lead.stop()
	mark := begin(context.WithoutCancel(ctx), s.mark)
	defer mark.stop()

	var leave error // errMarksChanged
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case err := <-lead.done:
		return fmt.Errorf("lead: %w; the next leader finishes the open records", err)
	case leave = <-mark.done:
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Grace)
	defer cancel()
	s.log.InfoContext(grace, "stopping: finishing the current work", "duration", s.config.Grace)
	if leave == nil {
		err = s.server.Shutdown(grace)
	}
	if workErr := work.end(grace); workErr != nil {
		return errors.Join(err, fmt.Errorf("finish the current work: %w; its records stay open for the next leader", workErr))
	}
	if err = errors.Join(err, lead.end(grace)); err != nil || leave == nil {
		return err
	}
	// Alerts that were stored meanwhile are the next service's work.
	return errors.Join(s.server.Shutdown(grace), leave)
}

// listen opens both listeners and logs what the service will do.
func (s *service) listen(ctx context.Context) (webhook, ops net.Listener, err error) {
	var l net.ListenConfig
	webhook, err = l.Listen(ctx, "tcp", s.config.HTTP.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("listen for the webhook: %w; is BACKOUT_LISTEN in use?", err)
	}
	ops, err = l.Listen(ctx, "tcp", s.config.HTTP.OpsListen)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("listen for health and metrics: %w; is BACKOUT_OPS_LISTEN in use?", err), webhook.Close())
	}
	s.log.InfoContext(ctx, "backout is serving", "address", webhook.Addr().String(), "ops", ops.Addr().String(),
		"policy", s.config.Policy, "prometheus", s.config.Prometheus, "grafana", s.config.Grafana, "http", s.config.HTTP, "notify", s.config.Notify)
	if len(s.config.Policy.Releases) == 0 {
		s.log.WarnContext(ctx, "no release is opted in: every alert will be refused; set BACKOUT_RELEASES")
	}
	return webhook, ops, nil
}

// task is a function that runs in the background until stop. done gets its error once.
type task struct {
	stop context.CancelFunc
	done <-chan error
}

func begin(ctx context.Context, run func(context.Context) error) task {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return task{stop, done}
}

// end stops the task and returns its error, or an error if grace ends first.
func (t task) end(grace context.Context) error {
	t.stop()
	select {
	case err := <-t.done:
		return err
	case <-grace.Done():
		return errors.New("the grace period is over")
	}
}

// work waits for the API server, then follows the cluster and takes the stored records'
// steps until ctx ends.
func (s *service) work(ctx context.Context) error {
	s.awaitAPIServer(ctx)
	namespaces, allows := s.config.Policy.Namespaces(), s.config.Policy.Allows
	var following sync.WaitGroup
	var errs [8]error
	following.Go(func() { errs[0] = s.records.Follow(ctx, s.engine.OnRecord) })
	following.Go(func() { errs[1] = s.weights.Run(ctx) })
	following.Go(func() { errs[2] = s.notifier.Run(ctx) })
	following.Go(func() { errs[3] = s.releases.Follow(ctx, namespaces, allows) })
	following.Go(func() { errs[5] = s.keys.Run(ctx) })
	following.Go(func() { errs[6] = s.pauses.Run(ctx) })
	if s.prometheus != nil {
		following.Go(func() { errs[4] = s.prometheus.Run(ctx) })
	}
	if s.grafana != nil {
		following.Go(func() { errs[7] = s.grafana.Run(ctx) })
	}
	err := s.engine.Run(ctx)
	following.Wait()
	return errors.Join(err, errors.Join(errs[:]...))
}

// lead competes for the lease, and starts the leader's work once it has it.
func (s *service) lead(ctx context.Context) error {
	select {
	case <-s.asked:
	case <-ctx.Done():
		return nil
	}
	return s.lease.Run(ctx, func(ctx context.Context) {
		s.engine.StartLeading()
		<-ctx.Done()
	})
}

// retryInterval is the time between two requests to an API server that does not answer.
const retryInterval = time.Second

// awaitAPIServer returns once the API server has answered and the keys of records are known. A
// process that ended instead would only be restarted until then.
func (s *service) awaitAPIServer(ctx context.Context) {
	for {
		err := s.releases.Warm(ctx)
		if err != nil {
			err = fmt.Errorf("%w; is the API server up, and is it the right one?", err)
		} else if err = s.keys.Load(ctx); err == nil {
			close(s.answered)
			return
		}
		if ctx.Err() != nil {
			return
		}
		s.log.ErrorContext(ctx, "not ready; trying again", "address", s.cluster.Config.Host, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryInterval):
		}
	}
}
