package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/tests/env/programs"
)

// The repositories of the images that `make images` builds.
const (
	backoutRepository    = "backout"
	storefrontRepository = "storefront"
)

// localImages are those of `make images`, as the introduction names them.
func localImages() []string { return []string{backoutRepository, storefrontRepository} }

// The released images, at the versions that this repository pins.
func prometheusImage() string {
	return "quay.io/prometheus/prometheus:v" + programs.PrometheusVersion
}

func alertmanagerImage() string {
	return "quay.io/prometheus/alertmanager:v" + programs.AlertmanagerVersion
}

// loading says how the images of `make images` get into the cluster.
func (v *visit) loading() string {
	commands := []string{strings.Join(localImages(), " and ") + ", which `make images` builds, and one of these loads:"}
	kind, isKind := strings.CutPrefix(v.context, "kind-")
	for _, name := range localImages() {
		file := "bin/images/" + name + ".tar"
		if isKind {
			commands = append(commands, "  kind load image-archive "+file+" --name "+kind)
			continue
		}
		commands = append(commands, "  minikube image load "+file+", or kind load image-archive "+file)
	}
	return strings.Join(commands, "\n")
}

// pullNever is the pull policy of the images of `make images`: a registry may have other
// images with these names.
const pullNever = string(corev1.PullNever)

// watchImages ends the story with an error when a pod of the demo cannot get its image.
func (v *visit) watchImages(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, namespace := range ownNamespaces() {
			pods, err := v.cluster.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				continue // the next tick reads them again
			}
			if err := missing(pods.Items); err != nil {
				stop(err)
				return
			}
		}
	}
}

// missing returns an error that names an image that a pod lacks, and says how to load it.
func missing(pods []corev1.Pod) error {
	for i := range pods {
		for _, c := range pods[i].Status.ContainerStatuses {
			w := c.State.Waiting
			if w == nil || w.Reason != "ErrImageNeverPull" && w.Reason != "ImagePullBackOff" {
				continue
			}
			hint := "its node has to reach the registry, or load the image into the cluster"
			if repository, _, _ := strings.Cut(c.Image, ":"); slices.Contains(localImages(), repository) {
				hint = "run `make images`, then `kind load image-archive` or `minikube image load` with bin/images/" + repository + ".tar"
			}
			return fmt.Errorf("start pod %s of namespace %s: image %s is not there (%s); %s", pods[i].Name, pods[i].Namespace, c.Image, w.Reason, hint)
		}
	}
	return nil
}
