package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
)

// PausesName is the name of the ConfigMap, one per namespace, whose annotations
// say what is paused. `kubectl annotate` does the same as Pause.
const PausesName = "backout.v1"

// Annotations of that ConfigMap. Helm allows 53 characters for a release's name,
// Kubernetes 63 after the slash: the release's fits. Everything can be paused in
// backout's own namespace only.
const (
	pausedNamespace  = "backout.dev/paused"
	pausedRelease    = "backout.dev/paused."
	pausedEverywhere = "backout.dev/paused-everywhere"
)

// kindLabel says what a ConfigMap of backout that holds no record is for.
const (
	kindLabel   = "backout.dev/kind"
	kindOfPause = "pauses"
)

// maxLine bounds what is quoted of an annotation, in runes: people write them by
// hand, too.
const maxLine = 300

// pauseAttempts bounds how often Pause tries to write when others create and
// delete the ConfigMap at the same time.
const pauseAttempts = 3

// Scope is what a pause is about: a release, a namespace, or, with both empty,
// everything.
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

// Paused returns in one line what is paused of what k is part of, and who paused
// it, since when and why; "" if backout may act. The two ConfigMaps are read at
// once; in backout's own namespace it is one. What is known to be paused is told even
// if the other one cannot be read.
func (l *Ledger) Paused(ctx context.Context, k rollback.Key) (string, error) {
	if k.Namespace == l.own {
		return l.paused(ctx, Scope{}, Scope{Namespace: k.Namespace}, Scope{Namespace: k.Namespace, Release: k.Release})
	}
	var everywhere, here string
	var errs [2]error
	var reads sync.WaitGroup
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

// paused says which of the scopes are paused. They stand in one ConfigMap.
func (l *Ledger) paused(ctx context.Context, scopes ...Scope) (string, error) {
	namespace := l.home(scopes[0])
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
		if value, ok := cm.Annotations[s.annotation()]; ok && !denied(value) {
			lines = append(lines, strings.TrimSuffix(s.String()+" is paused: "+oneLine(value), ": "))
		}
	}
	return strings.Join(lines, "; "), nil
}

// home returns the namespace of the ConfigMap that a scope's pause stands in.
func (l *Ledger) home(s Scope) string {
	if s.Namespace == "" {
		return l.own
	}
	return s.Namespace
}

// denied reports whether a value that a person wrote by hand says that there is no
// pause.
func denied(value string) bool { return strings.EqualFold(strings.TrimSpace(value), "false") }

func oneLine(text string) string {
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) > maxLine {
		return string(line[:maxLine-1]) + "…"
	}
	return string(line)
}

// Pause makes backout leave alone what s names. The line says since when, by whom
// and why; it replaces that of an earlier pause of the same scope. Pauses of other
// scopes, made at the same time, are not lost.
func (l *Ledger) Pause(ctx context.Context, s Scope, line string) error {
	if err := l.valid(s); err != nil {
		return fmt.Errorf("pause %s: %w", s, err)
	}
	line = oneLine(line)
	maps := l.client.CoreV1().ConfigMaps(l.home(s))
	var err error
	for range pauseAttempts {
		if err = l.annotate(ctx, s, &line); !apierrors.IsNotFound(err) {
			break
		}
		_, err = maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Name: PausesName, Labels: pauseLabels(), Annotations: map[string]string{s.annotation(): line},
		}}, metav1.CreateOptions{FieldManager: fieldManager})
		if !apierrors.IsAlreadyExists(err) {
			break
		}
	}
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return fmt.Errorf("pause %s: %w: is namespace %s misspelt, or being deleted?", s, err, l.home(s))
	case apierrors.IsForbidden(err):
		return fmt.Errorf("pause %s: %w: whoever pauses needs to create and patch ConfigMaps in namespace %s", s, err, l.home(s))
	default:
		return fmt.Errorf("pause %s: %w", s, err)
	}
}

// Resume ends the pause of exactly what s names, and reports whether there was
// one. Wider and narrower pauses last.
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
		return false, fmt.Errorf("resume %s: %w: whoever resumes needs to patch ConfigMaps in namespace %s", s, err, l.home(s))
	default:
		return false, fmt.Errorf("resume %s: %w", s, err)
	}
}

// annotate sets the scope's annotation, or removes it if the line is nil. It
// touches nothing else, whatever others write meanwhile.
func (l *Ledger) annotate(ctx context.Context, s Scope, line *string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"labels": pauseLabels(), "annotations": map[string]*string{s.annotation(): line},
	}})
	if err != nil {
		return err
	}
	_, err = l.client.CoreV1().ConfigMaps(l.home(s)).Patch(ctx, PausesName, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	return err
}

func pauseLabels() map[string]string {
	return map[string]string{managedLabel: managedValue, kindLabel: kindOfPause}
}

func (l *Ledger) valid(s Scope) error {
	switch {
	case s.Release != "" && s.Namespace == "":
		return errors.New("a release needs its namespace: NAMESPACE/RELEASE")
	case l.home(s) == "":
		return errors.New("everything is paused in backout's own namespace, which is not known here: name it, or pause a namespace")
	default:
		return nil
	}
}
