package helm

import (
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/upcommerce/backout/rollback"
)

// noteRefusal adds a danger if err is a refusal, and returns any other error. The verbs are
// those that Helm needs.
func (t *dryRun) noteRefusal(info *resource.Info, err error, verbs ...string) error {
	if err == nil {
		return nil
	}
	kind, refused := refusalKind(err)
	if !refused {
		return err
	}
	if hasNoDryRun(err) {
		return nil
	}
	if kind == rollback.DangerForbidden {
		t.addDangers(rollback.Danger{Kind: kind, What: t.title(info) + ": " + forbiddenText(info, t.plan.Key.Namespace, verbs...)})
		return nil
	}
	reason := errorText(err)
	if isSecret(info) {
		reason = string(apierrors.ReasonForError(err)) // the message could quote the data
	}
	t.addDangers(rollback.Danger{Kind: kind, What: t.title(info) + ": the API server refuses the change: " + reason})
	return nil
}

// refusalKind returns the kind of danger if err is the API server's refusal of a dry
// run; false if the API server gave no answer or may give another one next time.
func refusalKind(err error) (rollback.DangerKind, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return "", false
	}
	switch code := status.Status().Code; {
	case isForbidden(err):
		return rollback.DangerForbidden, true
	case apierrors.IsInvalid(err):
		return rollback.DangerImmutable, true
	case apierrors.IsUnauthorized(err), apierrors.IsTimeout(err), apierrors.IsTooManyRequests(err),
		apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return "", false
	default:
		return rollback.DangerUnbuildable, code >= 400 && code < 500
	}
}

// hasNoDryRun reports whether the API server refuses a dry run alone: a webhook with side effects
// is not called by one.
func hasNoDryRun(err error) bool {
	return err != nil && strings.Contains(err.Error(), "does not support dry run")
}
