package rollback

// Object is a Kubernetes object as decoded from JSON or YAML.
type Object = map[string]any

// Manifest is what a revision of a release declares.
type Manifest []Object

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
	// Canary says that its pods are the canary's, and Why says why. By are the labels that
	// make them so; nil if something else does.
	Canary bool
	Why    string
	By     map[string]string
	// Tool is Flagger or Argo Rollouts if that shifts the requests to its pods, and Services are
	// those that lead to the canary alone then, by the tool's rules: selectors say nothing
	// about them.
	Tool     string
	Services []string
	// Serves says that it may be behind a Service: it has a pod template of its own and does
	// not end by itself, so it is no Job, CronJob or Pod.
	Serves bool
	Object Object
}

// Workloads returns every object that makes pods, of whatever kind, in the manifest's
// order: objects with a pod template (Deployments, StatefulSets, DaemonSets, Rollouts,
// Jobs ...), CronJobs, whose template is in their job template, and Pods. It does not say
// which workloads are the canary's: Track.Workloads does.
func (m Manifest) Workloads() []Workload {
	var found []Workload
	for _, o := range m {
		if w, ok := WorkloadOf(o); ok {
			found = append(found, w)
		}
	}
	return found
}

// WorkloadOf returns a single object as a workload; false if it makes no pods. It
// does not say whether the workload is the canary's: that depends on the others.
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
