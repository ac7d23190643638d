package ledger

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// failure is the last error of a request that is retried for ever, so that it is logged
// once. It belongs to one goroutine at a time.
type failure struct {
	failing bool
	reason  metav1.StatusReason
}

// isNew takes the result of a request; nil is a success. It reports whether err is the
// first error after a success, or of another kind than the last one.
func (f *failure) isNew(err error) bool {
	if err == nil {
		*f = failure{}
		return false
	}
	now := failure{failing: true, reason: apierrors.ReasonForError(err)}
	isNew := now != *f
	*f = now
	return isNew
}
