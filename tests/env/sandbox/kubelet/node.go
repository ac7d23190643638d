package kubelet

import (
	"context"
	"fmt"
	"runtime"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// leaseDuration and leasePeriod are a kubelet's defaults.
	leaseDuration = 40 * time.Second
	leasePeriod   = 10 * time.Second
)

// capacity is the node's capacity. It is more than the machine has, so that requests for a real cluster fit: nothing is limited.
func capacity() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("64"),
		corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods:   resource.MustParse("1000"),
	}
}

// register creates the Node and its Lease.
func (k *Kubelet) register(ctx context.Context) error {
	if _, err := k.Client.CoreV1().Nodes().Create(ctx, k.node(), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("register the node %s: %w", k.Node, err)
	}
	if err := k.makeLease(ctx); err != nil {
		return fmt.Errorf("make the lease of the node %s: %w", k.Node, err)
	}
	return nil
}

func (k *Kubelet) node() *corev1.Node {
	now := metav1.Now()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{
			Type: kind, Status: status, Reason: reason, Message: message, LastHeartbeatTime: now, LastTransitionTime: now,
		}
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: k.Node,
			Labels: map[string]string{
				corev1.LabelHostname: k.Node, corev1.LabelOSStable: runtime.GOOS, corev1.LabelArchStable: runtime.GOARCH,
			},
		},
		Spec: corev1.NodeSpec{PodCIDR: k.PodCIDR, PodCIDRs: []string{k.PodCIDR}},
		Status: corev1.NodeStatus{
			Capacity:    capacity(),
			Allocatable: capacity(),
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: k.Bridge.Address().String()},
				{Type: corev1.NodeHostName, Address: k.Node},
			},
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion: k.Version, OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH,
				ContainerRuntimeVersion: "processes://" + k.Version, OSImage: "the files of this machine",
			},
			Conditions: []corev1.NodeCondition{
				condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
				condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
				condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
				condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"),
			},
		},
	}
}

// makeLease creates the Lease. It waits for the Lease's namespace, which the API server creates while it starts.
func (k *Kubelet) makeLease(ctx context.Context) error {
	seconds, now := int32(leaseDuration.Seconds()), metav1.NowMicro()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: k.Node},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &k.Node, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
	for {
		_, err := k.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(ctx, lease, metav1.CreateOptions{})
		if !apierrors.IsNotFound(err) {
			return err
		}
		if !pause(ctx, 50*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// renewLease renews the Lease until ctx ends.
func (k *Kubelet) renewLease(ctx context.Context) {
	leases := k.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	for pause(ctx, leasePeriod) {
		lease, err := leases.Get(ctx, k.Node, metav1.GetOptions{})
		if err == nil {
			now := metav1.NowMicro()
			lease.Spec.RenewTime = &now
			_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
		}
		if err != nil && ctx.Err() == nil {
			k.Log.WarnContext(ctx, "the node's lease is not renewed", "error", err)
		}
	}
}
