package rollback

import (
	"cmp"
	"slices"
)

// shift is an object of a tool that shifts requests from the pods of a workload's last
// template to those of its new one, which is what the revision declares.
type shift struct {
	tool, why             string
	kind, namespace, name string
	// services are those that lead to the new pods.
	services []string
}

// addShift adds what a Canary of Flagger or a Rollout of Argo Rollouts says. A Rollout
// without the strategy canary, and a Canary of anything but a workload, shift nothing.
func (c *canaries) addShift(o Object) {
	self := referenceTo(o, "")
	tool := self.owner("", Command{}).Tool
	if tool == "" || len(c.shifts) == maxChoices {
		return
	}
	s := shift{tool: tool, kind: self.kind, namespace: self.namespace, name: self.name}
	canary := field(o, "spec", "strategy", "canary")
	switch {
	case self.kind == flaggerKind:
		s.kind, s.name = text(o, "spec", "targetRef", "kind"), text(o, "spec", "targetRef", "name")
		s.why = "Flagger shifts requests to its pods, by Canary " + self.name
		s.services = []string{cmp.Or(text(o, "spec", "service", "name"), s.name) + CanarySuffix}
	case canary == nil:
		return
	default:
		if name := text(o, "spec", "workloadRef", "name"); name != "" {
			s.kind, s.name = text(o, "spec", "workloadRef", "kind"), name
		}
		s.why = "Argo Rollouts shifts requests to the pods of its template, by Rollout " + self.name
		if name := text(canary, "canaryService"); name != "" {
			s.services = []string{name}
		}
	}
	c.shifts = append(c.shifts, s)
}

// shifted returns which tool shifts requests to the workload's pods.
func (c canaries) shifted(w Workload) sign {
	i := slices.IndexFunc(c.shifts, func(s shift) bool {
		return s.kind == w.Kind && s.name == w.Name && s.namespace == w.Namespace
	})
	if i < 0 {
		return sign{}
	}
	return sign{why: c.shifts[i].why, tool: c.shifts[i].tool, services: c.shifts[i].services}
}
