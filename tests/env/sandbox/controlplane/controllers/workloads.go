package controllers

import (
	"context"

	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/kubernetes/pkg/controller/cronjob"
	"k8s.io/kubernetes/pkg/controller/daemon"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/job"
	"k8s.io/kubernetes/pkg/controller/replicaset"
	"k8s.io/kubernetes/pkg/controller/statefulset"
	"k8s.io/kubernetes/pkg/controller/ttlafterfinished"
)

func (m *manager) deployments(ctx context.Context) (run, error) {
	apps := m.informers.Apps().V1()
	c, err := deployment.NewDeploymentController(ctx, apps.Deployments(), apps.ReplicaSets(), m.informers.Core().V1().Pods(), m.client)
	return func(ctx context.Context) { c.Run(ctx, workers) }, err
}

func (m *manager) replicaSets(ctx context.Context) (run, error) {
	c := replicaset.NewReplicaSetController(ctx, m.informers.Apps().V1().ReplicaSets(), m.informers.Core().V1().Pods(), m.client, replicaset.BurstReplicas)
	return func(ctx context.Context) { c.Run(ctx, workers) }, nil
}

func (m *manager) statefulSets(ctx context.Context) (run, error) {
	core, apps := m.informers.Core().V1(), m.informers.Apps().V1()
	c := statefulset.NewStatefulSetController(
		ctx, core.Pods(), apps.StatefulSets(), core.PersistentVolumeClaims(), apps.ControllerRevisions(), m.client)
	return func(ctx context.Context) { c.Run(ctx, workers) }, nil
}

func (m *manager) daemonSets(ctx context.Context) (run, error) {
	core, apps := m.informers.Core().V1(), m.informers.Apps().V1()
	c, err := daemon.NewDaemonSetsController(ctx, apps.DaemonSets(), apps.ControllerRevisions(), core.Pods(), core.Nodes(), m.client,
		flowcontrol.NewBackOff(daemonBackOff, daemonBackOffLimit))
	return func(ctx context.Context) { c.Run(ctx, workers) }, err
}

func (m *manager) jobs(ctx context.Context) (run, error) {
	c, err := job.NewController(ctx, m.client, m.informers.Core().V1().Pods(), m.informers.Batch().V1().Jobs(), nil, nil)
	return func(ctx context.Context) { c.Run(ctx, workers) }, err
}

func (m *manager) cronJobs(ctx context.Context) (run, error) {
	batch := m.informers.Batch().V1()
	c, err := cronjob.NewControllerV2(ctx, batch.Jobs(), batch.CronJobs(), m.client)
	return func(ctx context.Context) { c.Run(ctx, workers) }, err
}

func (m *manager) finishedJobs(ctx context.Context) (run, error) {
	c := ttlafterfinished.New(ctx, m.informers.Batch().V1().Jobs(), m.client)
	return func(ctx context.Context) { c.Run(ctx, workers) }, nil
}
