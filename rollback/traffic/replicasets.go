package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// replicaSet is a ReplicaSet of a Deployment that has pods, or is to have some.
type replicaSet struct {
	name, deployment string
	app, version     string
	// created is when the API server stored it, and changed when a client changed more than
	// its status last; zero if that is not known.
	created, changed time.Time
	// position is its number among the Deployment's ReplicaSets, by when each was used last.
	// again says that it was used, replaced, and used again.
	position int
	again    bool
}

// Annotations of the Deployment controller.
// https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/deployment/util/deployment_util.go
const (
	positionAnnotation = "deployment.kubernetes.io/revision"
	againAnnotation    = "deployment.kubernetes.io/revision-history"
)

// initialEvents is how long a watch from the beginning may take to deliver the objects that
// exist; those that it has not delivered then are gone.
const initialEvents = 10 * time.Second

// replicaSets follows the ReplicaSets of one namespace that have pods. It keeps nothing of the
// others, of which a Deployment has ten. It is safe for concurrent use.
type replicaSets struct {
	server    rest.Interface
	namespace string
	log       *slog.Logger
	// changed is called when a ReplicaSet gets its first pod, or has lost its last one.
	changed func(namespace string)

	mu   sync.Mutex
	sets map[string]replicaSet
	// old are the names that a watch which began again has not delivered yet, at begun.
	old   map[string]bool
	begun time.Time
	// live says that the watch runs; if not, seen is when it ended.
	live bool
	seen time.Time
}

// all returns the ReplicaSets that have pods, and whether backout knows them. For staleLimit
// after a watch has ended, until the next one has begun, they are the last ones.
func (r *replicaSets) all() ([]replicaSet, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.live && time.Since(r.seen) > staleLimit {
		return nil, false
	}
	known := make([]replicaSet, 0, len(r.sets))
	for name, set := range r.sets {
		if !r.old[name] || time.Since(r.begun) < initialEvents {
			known = append(known, set)
		}
	}
	return known, true
}

// run follows the namespace until ctx ends. One watch lasts some minutes, and the next goes on
// where it has ended.
func (r *replicaSets) run(ctx context.Context) {
	version, refused := "", false
	for wait := watchRetry; ctx.Err() == nil; {
		began := time.Now()
		err := r.follow(ctx, &version)
		r.end()
		switch {
		case apierrors.IsForbidden(err):
			if !refused {
				r.log.WarnContext(ctx, "ReplicaSets may not be watched: backout_workload_info has no pods of Deployments, and the alert rules go by the pods' labels",
					"namespace", r.namespace, "error", fmt.Errorf("%w; allow backout to watch replicasets in namespace %s", err, r.namespace))
			}
			refused, version, wait = true, "", refusedInterval
		case apierrors.IsGone(err), apierrors.IsResourceExpired(err):
			version, wait = "", watchRetry
		case err == nil || time.Since(began) > watchRetryMax:
			refused, wait = false, watchRetry
		default:
			wait = min(2*wait, watchRetryMax)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// end notes that the watch has ended.
func (r *replicaSets) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live {
		r.live, r.seen = false, time.Now()
	}
}

// begin notes that a watch has begun. One without a version begins with the objects that exist.
func (r *replicaSets) begin(version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live = true
	if r.sets == nil {
		r.sets = make(map[string]replicaSet)
	}
	if time.Since(r.begun) >= initialEvents {
		for name := range r.old {
			delete(r.sets, name)
		}
		r.old = nil
	}
	if version == "" {
		r.begun = time.Now()
		r.old = make(map[string]bool, len(r.sets))
		for name := range r.sets {
			r.old[name] = true
		}
	}
}

// delivered reports whether the watch has had the time to deliver the objects that exist.
func (r *replicaSets) delivered() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.begun) >= initialEvents
}

// follow follows one watch to its end, from a version on, and brings that up to date.
func (r *replicaSets) follow(ctx context.Context, version *string) error {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout+time.Minute)
	defer cancel()
	request := r.server.Get().AbsPath("apis", "apps", "v1", "namespaces", r.namespace, "replicasets").
		SetHeader("Accept", "application/json").
		Param("watch", "true").Param("allowWatchBookmarks", "true").
		Param("timeoutSeconds", strconv.Itoa(int(watchTimeout/time.Second)))
	if *version != "" {
		request = request.Param("resourceVersion", *version)
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return err
	}
	r.begin(*version)
	err = r.read(json.NewDecoder(body), version)
	return errors.Join(err, body.Close())
}

// read reads events until the watch ends.
func (r *replicaSets) read(events *json.Decoder, version *string) error {
	for {
		var event struct {
			Type   watch.EventType
			Object json.RawMessage
		}
		err := events.Decode(&event)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case event.Type == watch.Error:
			var status metav1.Status
			if err := json.Unmarshal(event.Object, &status); err != nil {
				return err
			}
			return &apierrors.StatusError{ErrStatus: status}
		}
		var o replicaSetOutline
		if err := json.Unmarshal(event.Object, &o); err != nil {
			return fmt.Errorf("read a ReplicaSet: %w", err)
		}
		if *version != "" || event.Type == watch.Bookmark || r.delivered() {
			// Before, the objects that exist are delivered, in any order: a watch that breaks off
			// among them has to begin again.
			*version = o.Metadata.ResourceVersion
		}
		if event.Type != watch.Bookmark {
			r.note(event.Type, o)
		}
	}
}

// note brings the known ReplicaSets up to date.
func (r *replicaSets) note(event watch.EventType, o replicaSetOutline) {
	set, ok := o.replicaSet()
	ok = ok && event != watch.Deleted
	r.mu.Lock()
	_, had := r.sets[o.Metadata.Name]
	delete(r.old, o.Metadata.Name)
	if ok {
		r.sets[o.Metadata.Name] = set
	} else {
		delete(r.sets, o.Metadata.Name)
	}
	r.mu.Unlock()
	if had != ok {
		r.changed(r.namespace)
	}
}
