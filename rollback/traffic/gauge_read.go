package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// refusedInterval is the time between two attempts to list a kind that the cluster does not
// serve or that backout may not list.
const refusedInterval = 10 * time.Minute

// snapshotReader lists a namespace's objects. It is not safe for concurrent use.
type snapshotReader struct {
	server  rest.Interface
	kinds   []listedKind
	log     *slog.Logger
	refused map[refusal]time.Time
}

// refusal is a kind that cannot be listed, in one namespace; in any if that is "".
type refusal struct {
	namespace string
	resource  schema.GroupResource
}

func newSnapshotReader(config *rest.Config, kinds registry, log *slog.Logger) (*snapshotReader, error) {
	// The client reaches any kind by its path, as a dynamic client does.
	config = dynamic.ConfigFor(config)
	config.GroupVersion = &schema.GroupVersion{}
	config.APIPath = "/"
	server, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return &snapshotReader{server: server, kinds: kinds.listed(), log: log, refused: make(map[refusal]time.Time)}, nil
}

// read lists all objects of the namespace on which the canary weights depend, one kind after
// the other. It leaves out the kinds that the cluster does not serve or that backout may not
// list: they are most likely not in use.
func (r *snapshotReader) read(ctx context.Context, namespace string) (snapshot, error) {
	live := snapshot{kinds: r.kinds, objects: make(map[schema.GroupResource][]unstructured.Unstructured)}
	for _, k := range r.kinds {
		group := k.resource.GroupResource()
		anywhere, here := refusal{resource: group}, refusal{namespace: namespace, resource: group}
		if now := time.Now(); now.Before(r.refused[anywhere]) || now.Before(r.refused[here]) {
			continue
		}
		items, err := r.list(ctx, namespace, k)
		for _, version := range k.older {
			if apierrors.IsNotFound(err) {
				k.resource.Version = version
				items, err = r.list(ctx, namespace, k)
			}
		}
		switch {
		case apierrors.IsNotFound(err):
			r.refused[anywhere] = time.Now().Add(refusedInterval)
		case apierrors.IsForbidden(err):
			r.refuse(ctx, here, err)
		case err != nil:
			return snapshot{}, fmt.Errorf("list %s: %w", group, err)
		default:
			delete(r.refused, anywhere)
			delete(r.refused, here)
			live.objects[group] = items
		}
	}
	return live, nil
}

// list returns the outlines of the namespace's objects of one kind. It decodes one object
// after the other, and never has the whole list in memory. Version 0 is what the API server
// has cached, without a read of etcd, and may be some moments old.
func (r *snapshotReader) list(ctx context.Context, namespace string, k listedKind) ([]unstructured.Unstructured, error) {
	path := []string{"apis", k.resource.Group, k.resource.Version}
	if k.resource.Group == "" {
		path = []string{"api", k.resource.Version}
	}
	body, err := r.server.Get().AbsPath(append(path, "namespaces", namespace, k.resource.Resource)...).
		Param("resourceVersion", "0").SetHeader("Accept", "application/json").Stream(ctx)
	if err != nil {
		return nil, err
	}
	items, err := k.decode(json.NewDecoder(body))
	return items, errors.Join(err, body.Close())
}

// refuse notes that the kind may not be listed, and logs it the first time. A refusal of
// Services is a warning: without them, the canary's side of a route is unknown.
func (r *snapshotReader) refuse(ctx context.Context, refused refusal, err error) {
	if _, known := r.refused[refused]; !known {
		level := slog.LevelDebug
		if refused.resource.Resource == "services" {
			level = slog.LevelWarn
		}
		r.log.Log(ctx, level, "the canary weights are read without a kind that may not be listed",
			"namespace", refused.namespace, "error", withHint(err, refused.resource.String(), refused.namespace))
	}
	r.refused[refused] = time.Now().Add(refusedInterval)
}
