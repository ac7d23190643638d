package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/rollback"
)

// Manifests are what releases declare; *helm.Client is one.
type Manifests interface {
	Manifest(ctx context.Context, k rollback.Key, revision int) (rollback.Manifest, error)
}

// controller names backout in the Events that it writes.
const controller = "backout.dev/backout"

// maxNote is the API server's bound on an Event's note, in bytes.
const maxNote = 1024

// kubernetesEvents writes an Event about every line on every workload of the
// release. An Event's name says what it tells: the same once more is the same
// Event.
type kubernetesEvents struct {
	client    kubernetes.Interface
	manifests Manifests
	instance  string
}

func (e *kubernetesEvents) deliver(ctx context.Context, r *Report, news []Line, place string) (string, error) {
	about, err := e.about(ctx, r)
	if err != nil {
		return place, err
	}
	for _, l := range news {
		for i := range about {
			if err := e.write(ctx, &about[i], r, l); err != nil {
				return place, err
			}
		}
	}
	return place, nil
}

func (e *kubernetesEvents) write(ctx context.Context, about *corev1.ObjectReference, r *Report, l Line) error {
	sum := sha256.Sum256([]byte(r.Record + "/" + r.Opened.UTC().String() + "/" + l.Key + "/" + about.Kind + "/" + string(about.UID)))
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: about.Name + "." + hex.EncodeToString(sum[:8])},
		EventTime:  metav1.NewMicroTime(l.At), ReportingController: controller, ReportingInstance: e.instance,
		Action: "Backout", Reason: l.Word.reason(), Type: corev1.EventTypeNormal, Regarding: *about,
		Note: bounded(fmt.Sprintf("revision %d: %s", r.Revision, printable(l.Text)), maxNote),
	}
	if l.Help || l.Word == Shed || l.Word == RolledBack {
		event.Type = corev1.EventTypeWarning
	}
	_, err := e.client.EventsV1().Events(r.Namespace).Create(ctx, event, metav1.CreateOptions{})
	switch {
	case err == nil, apierrors.IsAlreadyExists(err):
		return nil
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil // the namespace goes, and its Events with it
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: %w; allow to create events.events.k8s.io, or set BACKOUT_EVENTS=false", errRefused, err)
	default:
		return err
	}
}

// about returns the live workloads that the accused revision declares, or the
// record if none can be seen.
func (e *kubernetesEvents) about(ctx context.Context, r *Report) ([]corev1.ObjectReference, error) {
	var found []corev1.ObjectReference
	manifest, _ := e.manifests.Manifest(ctx, r.Key(), r.Revision) // without one the record remains
	for _, object := range manifest {
		kind, name := named(object)
		uid, err := e.live(ctx, r.Namespace, kind, name)
		if err != nil {
			return nil, err
		}
		if uid != "" {
			found = append(found, corev1.ObjectReference{APIVersion: "apps/v1", Kind: kind, Namespace: r.Namespace, Name: name, UID: uid})
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	record, err := e.client.CoreV1().ConfigMaps(r.Namespace).Get(ctx, r.Record, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []corev1.ObjectReference{{APIVersion: "v1", Kind: "ConfigMap", Namespace: r.Namespace, Name: r.Record, UID: record.UID}}, nil
}

// named returns kind and name of an object that backout writes Events about.
func named(object rollback.Object) (kind, name string) {
	meta, _ := object["metadata"].(map[string]any)
	kind, _ = object["kind"].(string)
	name, _ = meta["name"].(string)
	return kind, name
}

// live returns the UID of a workload, "" if there is none or it may not be seen.
func (e *kubernetesEvents) live(ctx context.Context, namespace, kind, name string) (types.UID, error) {
	var object metav1.Object
	var err error
	apps := e.client.AppsV1()
	switch kind {
	case "Deployment":
		object, err = apps.Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	case "StatefulSet":
		object, err = apps.StatefulSets(namespace).Get(ctx, name, metav1.GetOptions{})
	case "DaemonSet":
		object, err = apps.DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
	default:
		return "", nil
	}
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return object.GetUID(), nil
}

// bounded cuts s to n bytes, between two runes.
func bounded(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[:n]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}
