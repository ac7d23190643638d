package traffic

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// replicaSetOutline is the part of a ReplicaSet that a replicaSet is made of.
type replicaSetOutline struct {
	Metadata struct {
		Name              string                  `json:"name"`
		ResourceVersion   string                  `json:"resourceVersion"`
		CreationTimestamp metav1.Time             `json:"creationTimestamp"`
		Annotations       map[string]string       `json:"annotations"`
		OwnerReferences   []metav1.OwnerReference `json:"ownerReferences"`
		ManagedFields     []managedOutline        `json:"managedFields"`
	} `json:"metadata"`
	Spec struct {
		Replicas int64           `json:"replicas"`
		Template templateOutline `json:"template"`
	} `json:"spec"`
	Status struct {
		Replicas int64 `json:"replicas"`
	} `json:"status"`
}

// managedOutline is when a client has changed an object last.
type managedOutline struct {
	Subresource string      `json:"subresource"`
	Time        metav1.Time `json:"time"`
}

// templateOutline is the part of a pod template that says what its pods are.
type templateOutline struct {
	Metadata struct {
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Containers []struct {
			Image string `json:"image"`
		} `json:"containers"`
	} `json:"spec"`
}

// replicaSet returns the ReplicaSet, if it belongs to a Deployment and has pods or is to have
// some.
func (o replicaSetOutline) replicaSet() (replicaSet, bool) {
	owner := metav1.GetControllerOfNoCopy(&metav1.ObjectMeta{OwnerReferences: o.Metadata.OwnerReferences})
	if o.Spec.Replicas == 0 && o.Status.Replicas == 0 || owner == nil ||
		owner.Kind != deploymentKind || !strings.HasPrefix(owner.APIVersion, "apps/") {
		return replicaSet{}, false
	}
	position, _ := strconv.Atoi(o.Metadata.Annotations[positionAnnotation])
	return replicaSet{
		name: o.Metadata.Name, deployment: owner.Name,
		app: appOf(o.Spec.Template.Metadata.Labels), version: versionOf(o.Spec.Template.Metadata.Labels, o.Spec.Template.image()),
		created: o.Metadata.CreationTimestamp.Time, changed: lastChange(o.Metadata.ManagedFields),
		position: position, again: o.Metadata.Annotations[againAnnotation] != "",
	}, true
}

// lastChange returns when a client changed more than the object's status last; zero if that
// is not known.
func lastChange(managed []managedOutline) time.Time {
	var last time.Time
	for _, m := range managed {
		if m.Subresource == "" {
			last = later(last, m.Time.Time)
		}
	}
	return last
}

// image returns the image of the first container; "" without one.
func (t templateOutline) image() string {
	if len(t.Spec.Containers) == 0 {
		return ""
	}
	return t.Spec.Containers[0].Image
}

// appOf and versionOf return the pods' app and version as the alert rules name them. The
// version is one that the revision's Versions have.
func appOf(labels map[string]string) string {
	return cmp.Or(labels["app.kubernetes.io/name"], labels["app"])
}

func versionOf(labels map[string]string, image string) string {
	image, _, _ = strings.Cut(image, "@")
	_, tag, _ := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
	return strings.Clone(rollback.Clip(cmp.Or(labels["app.kubernetes.io/version"], labels["version"], tag), rollback.MaxName))
}
