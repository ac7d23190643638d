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
	"github.com/upcommerce/backout/rollback/report"
)

// Manifests reads the manifests of releases; *helm.Client is one.
type Manifests interface {
	Manifest(ctx context.Context, k rollback.Key, revision int) (rollback.Manifest, error)
}

// controller names backout in the Events that it writes.
const controller = "backout.dev/backout"

// maxNote is the API server's limit for the note of an Event, in bytes.
const maxNote = 1024

// kubernetesEvents writes an Event about every entry, on every workload of the release.
// The name of an Event follows from its entry: the same entry again is the same Event.
type kubernetesEvents struct {
	client    kubernetes.Interface
	manifests Manifests
	instance  string
}

func (k *kubernetesEvents) deliver(ctx context.Context, r *report.Report, entries []report.Entry, messageID string) (string, error) {
	objects, err := k.objects(ctx, r)
	if err != nil {
		return messageID, err
	}
	for _, e := range entries {
		for i := range objects {
			if err := k.write(ctx, &objects[i], r, e); err != nil {
				return messageID, err
			}
		}
	}
	return messageID, nil
}

func (k *kubernetesEvents) write(ctx context.Context, object *corev1.ObjectReference, r *report.Report, e report.Entry) error {
	sum := sha256.Sum256([]byte(r.Record + "/" + r.Opened.UTC().String() + "/" + e.Key + "/" + object.Kind + "/" + string(object.UID)))
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: object.Name + "." + hex.EncodeToString(sum[:8])},
		EventTime:  metav1.NewMicroTime(e.At), ReportingController: controller, ReportingInstance: k.instance,
		Action: "Backout", Reason: e.Kind.Reason(), Type: corev1.EventTypeNormal, Regarding: *object,
		Note: note(r, e),
	}
	if e.NeedsHelp || e.Kind == report.EntryShed || e.Kind == report.EntryRolledBack {
		event.Type = corev1.EventTypeWarning
	}
	_, err := k.client.EventsV1().Events(r.Namespace).Create(ctx, event, metav1.CreateOptions{})
	switch {
	case err == nil, apierrors.IsAlreadyExists(err):
		return nil
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil // the namespace is deleted, and its Events with it
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: %w; grant the right to create events.events.k8s.io, or set BACKOUT_EVENTS=false", errRefused, err)
	default:
		return err
	}
}

// note is the text of the Event about an entry.
func note(r *report.Report, e report.Entry) string {
	return bounded(fmt.Sprintf("revision %d: %s", r.Revision, rollback.Printable(e.Text)), maxNote)
}

// objects returns the live workloads that the suspect revision declares, or the record
// if none can be read.
func (k *kubernetesEvents) objects(ctx context.Context, r *report.Report) ([]corev1.ObjectReference, error) {
	var found []corev1.ObjectReference
	manifest, _ := k.manifests.Manifest(ctx, r.Key(), r.Revision) // without one the record remains
	for _, w := range manifest.Workloads() {
		uid, err := k.liveUID(ctx, r.Namespace, w)
		if err != nil {
			return nil, err
		}
		if uid != "" {
			found = append(found, corev1.ObjectReference{APIVersion: "apps/v1", Kind: w.Kind, Namespace: r.Namespace, Name: w.Name, UID: uid})
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	record, err := k.client.CoreV1().ConfigMaps(r.Namespace).Get(ctx, r.Record, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []corev1.ObjectReference{{APIVersion: "v1", Kind: "ConfigMap", Namespace: r.Namespace, Name: r.Record, UID: record.UID}}, nil
}

// liveUID returns the UID of a workload, "" if it does not exist or may not be read.
func (k *kubernetesEvents) liveUID(ctx context.Context, namespace string, w rollback.Workload) (types.UID, error) {
	var object metav1.Object
	var err error
	apps := k.client.AppsV1()
	switch w.Kind {
	case "Deployment":
		object, err = apps.Deployments(namespace).Get(ctx, w.Name, metav1.GetOptions{})
	case "StatefulSet":
		object, err = apps.StatefulSets(namespace).Get(ctx, w.Name, metav1.GetOptions{})
	case "DaemonSet":
		object, err = apps.DaemonSets(namespace).Get(ctx, w.Name, metav1.GetOptions{})
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
