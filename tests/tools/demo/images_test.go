package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A pod without its image ends the story with an error that says where the image comes from.
// An image that is still being pulled does not.
func TestAMissingImageIsNamed(t *testing.T) {
	for _, tt := range []struct{ image, reason, want string }{
		{"storefront:v1", "ErrImageNeverPull", "bin/images/storefront.tar"},
		{"backout:0.1.0", "ErrImageNeverPull", "bin/images/backout.tar"},
		{prometheusImage(), "ImagePullBackOff", "reach the registry"},
		{prometheusImage(), "ContainerCreating", ""},
		{prometheusImage(), "ErrImagePull", ""},
	} {
		pod := corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Image: tt.image, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: tt.reason}},
		}}}}
		err := missing([]corev1.Pod{{}, pod})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %s: error %v, want one that contains %q", tt.image, tt.reason, err, tt.want)
		}
	}
}

// The introduction has the command for the cluster's own tool.
func TestLoadingNamesTheCluster(t *testing.T) {
	for context, want := range map[string]string{
		"kind-shop": "kind load image-archive bin/images/backout.tar --name shop",
		"minikube":  "minikube image load bin/images/backout.tar",
	} {
		if text := (&visit{context: context}).loading(); !strings.Contains(text, want) {
			t.Errorf("for %s the demo prints:\n%s\nwant %q", context, text, want)
		}
	}
}
