package kubelet

import (
	"time"
)

// volumes are a pod's volumes, as directories that its containers mount.
type volumes struct {
	pod     *pod
	objects *objects
	tokens  map[string]token // by volume and audience
}

func newVolumes(p *pod) *volumes {
	return &volumes{
		pod: p, tokens: map[string]token{},
		objects: newObjects(p.kubelet.Client.CoreV1().RESTClient(), p.object.Load().Namespace),
	}
}

// token is a service account token that is bound to the pod.
type token struct {
	text string
	// due is when it is replaced: after four fifths of its lifetime, as by a kubelet.
	due time.Time
}
