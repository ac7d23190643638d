package serve

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
)

// How long an answer of the API server counts, and how many are kept.
const (
	allowedFor = time.Minute
	deniedFor  = 10 * time.Second
	maxReviews = 1000
	// maxReviewing bounds the requests to the API server about tokens at a time.
	maxReviewing = 4
	reviewLimit  = 2 * time.Second
)

// reviews asks the API server about the readers of the ops listener. It is safe for
// concurrent use.
type reviews struct {
	client kubernetes.Interface
	asking singleflight.Group
	room   chan struct{}

	mu sync.Mutex
	// allowed and denied are apart: tokens that are guessed push out no reader's.
	allowed, denied map[question]review
}

// question is about a token, as its SHA-256, and a path.
type question struct {
	token [sha256.Size]byte
	path  string
}

// review is an answer: nil, handler.ErrUnauthenticated or handler.ErrForbidden.
type review struct {
	err   error
	until time.Time
}

func newReviews(client kubernetes.Interface) *reviews {
	return &reviews{client: client, room: make(chan struct{}, maxReviewing), allowed: make(map[question]review), denied: make(map[question]review)}
}

// may is handler.Options.OpsAccess. An answer counts for up to a minute.
func (r *reviews) may(ctx context.Context, token, path string) error {
	q := question{sha256.Sum256([]byte(token)), path}
	if kept, ok := r.kept(q); ok {
		return kept.err
	}
	// Several requests with the same question wait for one answer, whichever of them ends first.
	answer := r.asking.DoChan(string(q.token[:])+path, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewLimit)
		defer cancel()
		select {
		case r.room <- struct{}{}:
			defer func() { <-r.room }()
		case <-ctx.Done():
			return nil, errors.New("too many tokens are being checked")
		}
		err := r.ask(ctx, token, path)
		r.keep(q, err)
		return nil, err
	})
	select {
	case a := <-answer:
		return a.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kept returns the answer to a question, and whether it still counts.
func (r *reviews) kept(q question) (review, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept, ok := r.allowed[q]
	if !ok {
		kept, ok = r.denied[q]
	}
	return kept, ok && time.Now().Before(kept.until)
}

// keep keeps an answer of the API server. Another error is not kept.
func (r *reviews) keep(q question, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	answers, duration := r.denied, deniedFor
	delete(r.allowed, q)
	switch {
	case err == nil:
		answers, duration = r.allowed, allowedFor
	case !errors.Is(err, handler.ErrUnauthenticated) && !errors.Is(err, handler.ErrForbidden):
		return
	}
	if len(answers) >= maxReviews {
		clear(answers)
	}
	answers[q] = review{err, time.Now().Add(duration)}
}

// ask sends a TokenReview and a SubjectAccessReview.
func (r *reviews) ask(ctx context.Context, token, path string) error {
	who, err := r.client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("review the token: %w", err)
	}
	if !who.Status.Authenticated {
		return handler.ErrUnauthenticated
	}
	user := who.Status.User
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for name, values := range user.Extra {
		extra[name] = authorizationv1.ExtraValue(values)
	}
	access, err := r.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, Groups: user.Groups, UID: user.UID, Extra: extra,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: "get", Path: path},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("review the access of %s: %w", user.Username, err)
	}
	if !access.Status.Allowed {
		return fmt.Errorf("%w: %s may not get %s", handler.ErrForbidden,
			rollback.Clip(user.Username, rollback.MaxName), rollback.Clip(path, rollback.MaxSummary))
	}
	return nil
}
