package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	"github.com/upcommerce/backout/tests/env/sandbox/controlplane"
)

// Schedule binds pods to the only node until ctx ends, in place of kube-scheduler. It observes scheduling gates, the name of
// the scheduler, node selectors and required node affinity. It knows neither resources nor taints, nor the affinity of pods.
func Schedule(ctx context.Context, o controlplane.Options) error {
	config, err := o.ClientConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client for the scheduler: %w", err)
	}
	nodes := informers.NewSharedInformerFactory(client, 0)
	pods := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(l *metav1.ListOptions) {
		l.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", "").String()
	}))
	s := &scheduler{client: client, nodes: nodes.Core().V1().Nodes().Informer(), pods: pods.Core().V1().Pods().Informer()}
	bind := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(pod any) { s.bind(ctx, pod.(*corev1.Pod)) },
		UpdateFunc: func(_, pod any) { s.bind(ctx, pod.(*corev1.Pod)) },
	}
	if _, err := s.pods.AddEventHandler(bind); err != nil {
		return fmt.Errorf("follow the pods: %w", err)
	}
	// A new node, or new labels of a node, can be what a pod waits for.
	retry := func(any) {
		for _, pod := range s.pods.GetStore().List() {
			s.bind(ctx, pod.(*corev1.Pod))
		}
	}
	if _, err := s.nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: retry, UpdateFunc: func(_, node any) { retry(node) },
	}); err != nil {
		return fmt.Errorf("follow the nodes: %w", err)
	}
	nodes.Start(ctx.Done())
	pods.Start(ctx.Done())
	<-ctx.Done()
	return nil
}

type scheduler struct {
	client      kubernetes.Interface
	nodes, pods cache.SharedIndexInformer
}

// bind binds the pod to the first node that it may run on.
func (s *scheduler) bind(ctx context.Context, pod *corev1.Pod) {
	if pod.Spec.NodeName != "" || pod.DeletionTimestamp != nil || len(pod.Spec.SchedulingGates) > 0 ||
		pod.Spec.SchedulerName != corev1.DefaultSchedulerName {
		return
	}
	required := nodeaffinity.GetRequiredNodeAffinity(pod)
	for _, o := range s.nodes.GetStore().List() {
		node := o.(*corev1.Node)
		if ok, err := required.Match(node); err != nil || !ok || node.Spec.Unschedulable {
			continue
		}
		err := s.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: node.Name},
		}, metav1.CreateOptions{})
		if err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Info("pod is not bound", "namespace", pod.Namespace, "pod", pod.Name, "err", err)
		}
		return
	}
}
