package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// keepStatus writes the status whenever it has changed, and a last time at the end. Nothing else writes it.
func (p *pod) keepStatus(ctx context.Context, end <-chan struct{}) {
	defer close(p.statusDone)
	for last := false; ; {
		err := p.writeStatus(ctx)
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return // the object is deleted, and the informer will report it
		}
		if err != nil && ctx.Err() == nil {
			p.kubelet.warn(ctx, p.object.Load(), err)
			pause(ctx, 200*time.Millisecond)
			continue
		}
		if last {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-end:
			last = true
		case <-p.dirty:
		}
	}
}

// writeStatus patches the fields that have changed since the last write, so that other clients' changes stay.
func (p *pod) writeStatus(ctx context.Context) error {
	object, next := p.object.Load(), p.status()
	if equality.Semantic.DeepEqual(p.written, next) {
		return nil
	}
	patch, err := statusPatch(object, p.written, next)
	if err != nil {
		return err
	}
	patched, err := p.kubelet.Client.CoreV1().Pods(object.Namespace).Patch(ctx, object.Name, types.StrategicMergePatchType,
		patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	p.written = patched.Status
	return nil
}

func statusPatch(object *corev1.Pod, from, to corev1.PodStatus) ([]byte, error) {
	encode := func(uid types.UID, s corev1.PodStatus) ([]byte, error) {
		return json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid}, Status: s})
	}
	before, err := encode("", from)
	if err != nil {
		return nil, fmt.Errorf("encode a pod's status: %w", err)
	}
	// The UID becomes a precondition of the patch: another pod of that name is left alone.
	after, err := encode(object.UID, to)
	if err != nil {
		return nil, fmt.Errorf("encode a pod's status: %w", err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("compare a pod's status: %w", err)
	}
	return patch, nil
}

// status returns the pod's current status.
func (p *pod) status() corev1.PodStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	object, s := p.object.Load(), *p.written.DeepCopy()
	if s.StartTime == nil {
		now := metav1.Now().Rfc3339Copy()
		s.StartTime = &now
	}
	s.ObservedGeneration = object.Generation
	s.HostIP = p.kubelet.Bridge.Address().String()
	s.HostIPs = []corev1.HostIP{{IP: s.HostIP}}
	if p.connected {
		s.PodIP = p.network.Address.String()
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	}
	s.InitContainerStatuses, s.ContainerStatuses = statuses(p.initial), statuses(p.main)
	if !ended(&corev1.Pod{Status: s}) {
		s.Phase = p.phase()
	}
	p.conditions(object, &s)
	return s
}

func statuses(containers []*container) []corev1.ContainerStatus {
	var all []corev1.ContainerStatus
	for _, c := range containers {
		all = append(all, *c.status.DeepCopy())
	}
	return all
}

// phase derives the phase from the containers. The caller holds the lock.
func (p *pod) phase() corev1.PodPhase {
	never := p.object.Load().Spec.RestartPolicy == corev1.RestartPolicyNever
	for _, c := range p.initial {
		switch {
		case c.final && never && !c.succeeded():
			return corev1.PodFailed
		case !c.succeeded():
			return p.orFailed(corev1.PodPending)
		}
	}
	all, failed := true, false
	for _, c := range p.main {
		if c.status.State.Running == nil && c.end() == nil {
			return p.orFailed(corev1.PodPending)
		}
		all = all && c.final
		failed = failed || c.final && !c.succeeded()
	}
	switch {
	case !all:
		return corev1.PodRunning
	case failed:
		return corev1.PodFailed
	default:
		return corev1.PodSucceeded
	}
}

// orFailed returns the phase, or PodFailed if the pod was ended in it.
func (p *pod) orFailed(phase corev1.PodPhase) corev1.PodPhase {
	if p.object.Load().DeletionTimestamp != nil && !p.connected {
		return corev1.PodFailed
	}
	return phase
}

// conditions sets the conditions that a kubelet owns. The caller holds the lock.
func (p *pod) conditions(object *corev1.Pod, s *corev1.PodStatus) {
	over := ended(&corev1.Pod{Status: *s})
	var uninitialized, unready []string
	for _, c := range p.initial {
		if !c.succeeded() {
			uninitialized = append(uninitialized, c.spec.Name)
		}
	}
	for _, c := range p.main {
		if !c.status.Ready {
			unready = append(unready, c.spec.Name)
		}
	}
	setCondition(s, corev1.PodReadyToStartContainers, p.connected, "", "")
	setCondition(s, corev1.PodInitialized, len(uninitialized) == 0,
		"ContainersNotInitialized", "containers with incomplete status: ["+strings.Join(uninitialized, " ")+"]")
	reason, message := "ContainersNotReady", "containers with unready status: ["+strings.Join(unready, " ")+"]"
	if over {
		reason, message = "PodCompleted", ""
	}
	ready := len(unready) == 0 && !over
	setCondition(s, corev1.ContainersReady, ready, reason, message)
	if gate := closedGate(object); ready && gate != "" {
		ready, reason, message = false, "ReadinessGatesNotReady", fmt.Sprintf("the status of pod readiness gate %q is not \"True\"", gate)
	}
	setCondition(s, corev1.PodReady, ready, reason, message)
}

// closedGate returns a readiness gate whose condition is not true, "" if all are true.
func closedGate(p *corev1.Pod) corev1.PodConditionType {
	for _, gate := range p.Spec.ReadinessGates {
		open := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == gate.ConditionType && c.Status == corev1.ConditionTrue
		})
		if !open {
			return gate.ConditionType
		}
	}
	return ""
}

// setCondition sets a condition; reason and message explain why it is not met.
func setCondition(s *corev1.PodStatus, kind corev1.PodConditionType, met bool, reason, message string) { //nolint:revive // whether it is met is its value
	c := corev1.PodCondition{
		Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: message,
		LastTransitionTime: metav1.Now().Rfc3339Copy(), ObservedGeneration: s.ObservedGeneration,
	}
	if met {
		c.Status, c.Reason, c.Message = corev1.ConditionTrue, "", ""
	}
	i := slices.IndexFunc(s.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind })
	if i < 0 {
		s.Conditions = append(s.Conditions, c)
		return
	}
	if s.Conditions[i].Status == c.Status {
		c.LastTransitionTime = s.Conditions[i].LastTransitionTime
	}
	c.LastProbeTime = s.Conditions[i].LastProbeTime
	s.Conditions[i] = c
}
