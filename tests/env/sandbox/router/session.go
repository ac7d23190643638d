package router

import (
	"cmp"
	"net/http"

	networkingv1 "k8s.io/api/networking/v1"
)

const (
	affinityAnnotation = annotationPrefix + "affinity"
	behaviorAnnotation = annotationPrefix + "affinity-canary-behavior"
	sessionAnnotation  = annotationPrefix + "session-cookie-name"
	// sessionsIgnored is the behavior with which a canary has no sessions.
	sessionsIgnored = "legacy"
	sessionCookie   = "INGRESSCOOKIE"
)

// session keeps a client on the Service that answered it first, whatever the weights are.
type session struct {
	cookie string
	// canary says that the canary keeps clients, too.
	canary bool
}

// sessionOf returns the session that a main Ingress asks for, nil for none; canary may be nil.
func sessionOf(main, canary *networkingv1.Ingress) *session {
	if main.Annotations[affinityAnnotation] != "cookie" {
		return nil
	}
	return &session{
		cookie: cmp.Or(main.Annotations[sessionAnnotation], sessionCookie),
		canary: canary != nil && canary.Annotations[behaviorAnnotation] != sessionsIgnored,
	}
}

// kept returns the backends that keep clients.
func (s *session) kept(backends []*backend) []*backend {
	switch {
	case s == nil:
		return nil
	case s.canary:
		return backends
	}
	return backends[:1]
}

// choose returns the backend with which the client has a session, by its place; -1 for none.
func (s *session) choose(q *http.Request, backends []*backend) int {
	if s == nil {
		return -1
	}
	cookie, err := q.Cookie(s.cookie)
	if err != nil {
		return -1
	}
	for i, b := range s.kept(backends) {
		if b != nil && b.service == cookie.Value {
			return i
		}
	}
	return -1
}

// begin gives the client a session with the backend that answers it.
func (s *session) begin(w http.ResponseWriter, b *backend, backends []*backend) {
	for _, kept := range s.kept(backends) {
		if kept == b {
			http.SetCookie(w, &http.Cookie{Name: s.cookie, Value: b.service, Path: "/", HttpOnly: true}) //nolint:gosec // The router serves plain HTTP.
		}
	}
}
