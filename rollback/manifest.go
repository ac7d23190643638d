package rollback

import "strings"

// Object is a Kubernetes object as decoded from JSON or YAML.
type Object = map[string]any

// Manifest is what a revision of a release declares.
type Manifest []Object

// How the canary's workloads are recognized: their pods carry the track label, or,
// where no workload has a canary track, their names end in CanarySuffix.
const (
	TrackLabel   = "track"
	TrackCanary  = "canary"
	CanarySuffix = "-canary"
)

// Workload is an object that makes pods.
type Workload struct {
	Kind, Name string
	// Namespace is the one that the object names; "" is the release's.
	Namespace string
	// Template is the pod template, a part of Object: its metadata and spec. That of a
	// Pod is made of the Pod's labels and spec.
	Template Object
	// PodLabels are the labels of the template.
	PodLabels map[string]string
	// Canary says that its pods are the canary's.
	Canary bool
	// Serves says that Serving returns it.
	Serves bool
	Object Object
}

// Workloads returns every object that makes pods, of whatever kind, in the manifest's
// order: objects with a pod template (Deployments, StatefulSets, DaemonSets, Rollouts,
// Jobs ...), CronJobs, whose template is in their job template, and Pods.
//
// Workloads whose pods carry the track label of a canary are the canary's; without
// such pods, those whose names end in CanarySuffix.
func (m Manifest) Workloads() []Workload {
	return m.workloads(func(Workload) bool { return true })
}

// Serving returns the workloads that may be behind a Service: those with a pod template
// of their own that do not end by themselves, so no Jobs, CronJobs or Pods. Whether one
// is the canary's is decided among them, as Workloads does among all.
func (m Manifest) Serving() []Workload {
	return m.workloads(func(w Workload) bool { return w.Serves })
}

func (m Manifest) workloads(counts func(Workload) bool) []Workload {
	var found []Workload
	tracked := false
	for _, o := range m {
		if w, ok := WorkloadOf(o); ok && counts(w) {
			tracked = tracked || w.Canary
			found = append(found, w)
		}
	}
	for i, w := range found {
		if !tracked {
			found[i].Canary = strings.HasSuffix(w.Name, CanarySuffix)
		}
	}
	return found
}

// WorkloadOf returns a single object as a workload; false if it makes no pods. Its
// Canary says only what the track label says.
func WorkloadOf(o Object) (Workload, bool) {
	w := Workload{Kind: text(o, "kind"), Namespace: text(o, "metadata", "namespace"), Name: text(o, "metadata", "name"), Object: o}
	own, ofJobs := field(o, "spec", "template"), field(o, "spec", "jobTemplate", "spec", "template")
	switch {
	case w.Kind == "Pod":
		w.Template = podTemplate(o)
	case ofJobs["spec"] != nil:
		w.Template = ofJobs
	case own["spec"] != nil:
		w.Template, w.Serves = own, w.Kind != "Job"
	default:
		return Workload{}, false
	}
	w.PodLabels = texts(field(w.Template, "metadata", "labels"))
	w.Canary = w.PodLabels[TrackLabel] == TrackCanary
	return w, true
}

// podTemplate returns the template that would make the Pod.
func podTemplate(pod Object) Object {
	labels := make(Object)
	for name, value := range texts(field(pod, "metadata", "labels")) {
		labels[name] = value
	}
	return Object{"spec": pod["spec"], "metadata": Object{"labels": labels}}
}

// field returns the object at a path; nil if it does not exist.
func field(o Object, path ...string) Object {
	for _, name := range path {
		o, _ = o[name].(map[string]any)
	}
	return o
}

// text returns the string at a path; "" if it does not exist.
func text(o Object, path ...string) string {
	last := len(path) - 1
	s, _ := field(o, path[:last]...)[path[last]].(string)
	return s
}

// texts returns the entries whose values are strings.
func texts(o Object) map[string]string {
	found := make(map[string]string, len(o))
	for name, value := range o {
		if s, ok := value.(string); ok {
			found[name] = s
		}
	}
	return found
}
