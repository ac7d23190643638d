package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// PausesName is the name of the ConfigMap, one per namespace, whose annotations say what
// is paused. `kubectl annotate` does the same as Pause.
const PausesName = "backout.v1"

// Annotations of that ConfigMap. Helm allows 53 characters for a release's name and
// Kubernetes 63 after the slash: the release's annotation fits. Everything can be paused
// only in backout's own namespace.
const (
	pausedNamespace  = "backout.dev/paused"
	pausedRelease    = "backout.dev/paused."
	pausedEverywhere = "backout.dev/paused-everywhere"
)

// kindLabel says what a ConfigMap of backout contains that is not a record.
const (
	kindLabel  = "backout.dev/kind"
	pausesKind = "pauses"
)

// maxNote bounds the text of an annotation, in runes: operators write annotations
// manually, too.
const maxNote = 300

// pauseAttempts bounds how often Pause tries to write when other clients create and delete
// the ConfigMap at the same time.
const pauseAttempts = 3

// Scope says what is paused: a release, a namespace, or, with both empty, everything.
type Scope struct {
	Namespace, Release string
}

// String returns, for example, "release shop/web".
func (s Scope) String() string {
	switch {
	case s.Release != "":
		return "release " + s.Namespace + "/" + s.Release
	case s.Namespace != "":
		return "namespace " + s.Namespace
	default:
		return "everything"
	}
}

func (s Scope) annotation() string {
	switch {
	case s.Release != "":
		return pausedRelease + s.Release
	case s.Namespace != "":
		return pausedNamespace
	default:
		return pausedEverywhere
	}
}

// Paused returns in one line which pauses apply to the release, and who paused it, since
// when and why; "" if backout may act. It reads the ConfigMaps of the release's namespace
// and of backout's own in parallel; if these are the same namespace, it reads one. It
// returns a pause that it knows of even if it cannot read the other ConfigMap.
func (l *Ledger) Paused(ctx context.Context, k rollback.Key) (string, error) {
	if k.Namespace == l.own {
		return l.paused(ctx, Scope{}, Scope{Namespace: k.Namespace}, Scope{Namespace: k.Namespace, Release: k.Release})
	}
	var everywhere, here string
	var errs [2]error
	var reads parallel.WaitGroup
	if l.own != "" {
		reads.Go(func() { everywhere, errs[0] = l.paused(ctx, Scope{}) })
	}
	reads.Go(func() {
		here, errs[1] = l.paused(ctx, Scope{Namespace: k.Namespace}, Scope{Namespace: k.Namespace, Release: k.Release})
	})
	reads.Wait()
	switch {
	case everywhere != "" && here != "":
		return everywhere + "; " + here, nil
	case everywhere != "" || here != "":
		return everywhere + here, nil
	default:
		return "", errors.Join(errs[:]...)
	}
}

// paused says which of the scopes are paused. They have to be stored in one ConfigMap.
func (l *Ledger) paused(ctx context.Context, scopes ...Scope) (string, error) {
	namespace := l.namespaceOf(scopes[0])
	cm, err := l.client.CoreV1().ConfigMaps(namespace).Get(ctx, PausesName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case apierrors.IsForbidden(err):
		return "", fmt.Errorf("read whether %s is paused: %w: allow backout to get ConfigMap %s in namespace %s", scopes[0], err, PausesName, namespace)
	case err != nil:
		return "", fmt.Errorf("read whether %s is paused: %w", scopes[0], err)
	}
	var lines []string
	for _, s := range scopes {
		if value, ok := cm.Annotations[s.annotation()]; ok && !isOver(value, time.Now()) {
			lines = append(lines, strings.TrimSuffix(s.String()+" is paused: "+note(value), ": "))
		}
	}
	return strings.Join(lines, "; "), nil
}

// namespaceOf returns the namespace of the ConfigMap that stores a scope's pause.
func (l *Ledger) namespaceOf(s Scope) string {
	if s.Namespace == "" {
		return l.own
	}
	return s.Namespace
}

// isFalse reports whether an operator has annotated that there is no pause.
func isFalse(value string) bool { return strings.EqualFold(strings.TrimSpace(value), "false") }

// note returns the text of an annotation on one bounded line.
func note(text string) string { return rollback.Short(rollback.Printable(text), maxNote) }

// Pause pauses backout for a scope. The line says since when, by which operator and why;
// it replaces that of an earlier pause of the same scope. Pauses of other scopes that are
// made at the same time are not lost.
func (l *Ledger) Pause(ctx context.Context, s Scope, line string) error {
	if err := l.valid(s); err != nil {
		return fmt.Errorf("pause %s: %w", s, err)
	}
	line = note(line)
	err := retry.OnError(wait.Backoff{Steps: pauseAttempts}, apierrors.IsAlreadyExists, func() error {
		err := l.annotate(ctx, s, &line)
		if apierrors.IsNotFound(err) {
			return l.createPauses(ctx, s, line)
		}
		return err
	})
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return fmt.Errorf("pause %s: %w: is namespace %s misspelt, or being deleted?", s, err, l.namespaceOf(s))
	case apierrors.IsForbidden(err):
		return fmt.Errorf("pause %s: %w: to pause, a user must be allowed to create and patch ConfigMaps in namespace %s", s, err, l.namespaceOf(s))
	default:
		return fmt.Errorf("pause %s: %w", s, err)
	}
}

// Resume ends the pause of exactly this scope, and reports whether there was one. Wider and
// narrower pauses stay.
func (l *Ledger) Resume(ctx context.Context, s Scope) (bool, error) {
	if err := l.valid(s); err != nil {
		return false, fmt.Errorf("resume %s: %w", s, err)
	}
	line, err := l.paused(ctx, s)
	if err != nil || line == "" {
		return false, err
	}
	err = l.annotate(ctx, s, nil)
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsNotFound(err):
		return false, nil
	case apierrors.IsForbidden(err):
		return false, fmt.Errorf("resume %s: %w: to resume, a user must be allowed to patch ConfigMaps in namespace %s", s, err, l.namespaceOf(s))
	default:
		return false, fmt.Errorf("resume %s: %w", s, err)
	}
}

// createPauses makes the ConfigMap with the scope's annotation.
func (l *Ledger) createPauses(ctx context.Context, s Scope, line string) error {
	_, err := l.client.CoreV1().ConfigMaps(l.namespaceOf(s)).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name: PausesName, Labels: pauseLabels(), Annotations: map[string]string{s.annotation(): line},
	}}, metav1.CreateOptions{FieldManager: fieldManager})
	return err
}

// annotate sets the scope's annotation, or removes it if the line is nil. It changes
// nothing else, whatever other clients write at the same time.
func (l *Ledger) annotate(ctx context.Context, s Scope, line *string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"labels": pauseLabels(), "annotations": map[string]*string{s.annotation(): line},
	}})
	if err != nil {
		return err
	}
	_, err = l.client.CoreV1().ConfigMaps(l.namespaceOf(s)).Patch(ctx, PausesName, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	return err
}

func pauseLabels() map[string]string {
	return map[string]string{managedLabel: managedValue, kindLabel: pausesKind}
}

func (l *Ledger) valid(s Scope) error {
	switch {
	case s.Release != "" && s.Namespace == "":
		return errors.New("a release needs its namespace: NAMESPACE/RELEASE")
	case l.namespaceOf(s) == "":
		return errors.New("a pause of everything is stored in backout's own namespace, which is not known here: name it, or pause a namespace")
	default:
		return nil
	}
}
