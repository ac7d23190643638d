package serve

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/handler"
)

// judge is an API server that knows two tokens; user prometheus may get /metrics.
func judge(asked *int, broken *error) *fake.Clientset {
	client := fake.NewClientset()
	client.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		*asked++
		if *broken != nil {
			return true, nil, *broken
		}
		review := a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		review.Status.Authenticated = strings.HasPrefix(review.Spec.Token, "of ")
		review.Status.User.Username = strings.TrimPrefix(review.Spec.Token, "of ")
		return true, review, nil
	})
	client.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		on := review.Spec.NonResourceAttributes
		review.Status.Allowed = review.Spec.User == "prometheus" && on.Verb == "get" && on.Path == "/metrics"
		return true, review, nil
	})
	return client
}

func TestTheAPIServerDecidesWhoReadsTheOpsListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, broken := 0, error(nil)
		r := newReviews(judge(&asked, &broken))
		expect := func(token, path string, want error, requests int) {
			t.Helper()
			asked = 0
			if err := r.may(t.Context(), token, path); !errors.Is(err, want) || asked != requests {
				t.Errorf("%s %s: got %v after %d requests, want %v after %d", token, path, err, asked, want, requests)
			}
		}
		expect("of prometheus", "/metrics", nil, 1)
		expect("of prometheus", "/metrics", nil, 0)
		expect("of prometheus", "/", handler.ErrForbidden, 1)
		expect("of ann", "/metrics", handler.ErrForbidden, 1)
		expect("guess", "/metrics", handler.ErrUnauthenticated, 1)
		expect("guess", "/metrics", handler.ErrUnauthenticated, 0)
		time.Sleep(deniedFor)
		expect("guess", "/metrics", handler.ErrUnauthenticated, 1)
		expect("of prometheus", "/metrics", nil, 0)
		time.Sleep(allowedFor)
		expect("of prometheus", "/metrics", nil, 1)

		broken = errors.New("tokenreviews is forbidden")
		expect("of ann", "/", broken, 1)
		expect("of ann", "/", broken, 1)
		expect("of prometheus", "/metrics", nil, 0)
	})
}

func TestAnswersAboutTokensAreBounded(t *testing.T) {
	asked, broken := 0, error(nil)
	r := newReviews(judge(&asked, &broken))
	for i := range 3 * maxReviews {
		if err := r.may(t.Context(), "guess "+strconv.Itoa(i), "/metrics"); !errors.Is(err, handler.ErrUnauthenticated) {
			t.Fatal(err)
		}
	}
	if len(r.denied) > maxReviews || len(r.allowed) != 0 {
		t.Errorf("%d refusals are kept, want at most %d", len(r.denied), maxReviews)
	}
}
