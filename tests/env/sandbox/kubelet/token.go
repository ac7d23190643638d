package kubelet

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// token returns a token that is valid for a while.
func (v *volumes) token(ctx context.Context, volume string, s *corev1.ServiceAccountTokenProjection) (string, error) {
	key := volume + "/" + s.Audience
	if t, ok := v.tokens[key]; ok && time.Now().Before(t.due) {
		return t.text, nil
	}
	object := v.pod.object.Load()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: s.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: object.Name, UID: object.UID},
	}}
	if s.Audience != "" {
		request.Spec.Audiences = []string{s.Audience}
	}
	issued := time.Now()
	answer, err := v.pod.kubelet.Client.CoreV1().ServiceAccounts(object.Namespace).
		CreateToken(ctx, object.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("failed to fetch token: %w", err)
	}
	life := answer.Status.ExpirationTimestamp.Sub(issued)
	v.tokens[key] = token{text: answer.Status.Token, due: issued.Add(life * 4 / 5)}
	return answer.Status.Token, nil
}

// nextToken returns when the first token is due, zero if the pod has no tokens.
func (v *volumes) nextToken() time.Time {
	var first time.Time
	for _, t := range v.tokens {
		if first.IsZero() || t.due.Before(first) {
			first = t.due
		}
	}
	return first
}
