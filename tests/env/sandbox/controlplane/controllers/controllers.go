// Package controllers runs Kubernetes' controllers and a scheduler for one node. The controllers are Kubernetes' own packages; the
// list is this package's, in place of kube-controller-manager's, which links all there are, with every kind of volume.
package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	quotageneric "k8s.io/apiserver/pkg/quota/v1/generic"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller"
	"k8s.io/kubernetes/pkg/controller/disruption"
	"k8s.io/kubernetes/pkg/controller/endpoint"
	"k8s.io/kubernetes/pkg/controller/endpointslice"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	podmetrics "k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
	"k8s.io/kubernetes/pkg/controller/resourcequota"
	"k8s.io/kubernetes/pkg/quota/v1/install"
	resourceclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
	"k8s.io/metrics/pkg/client/custom_metrics"
	"k8s.io/metrics/pkg/client/external_metrics"

	"github.com/upcommerce/backout/tests/env/sandbox/controlplane"
)

// The defaults of kube-controller-manager.
const (
	workers            = 5
	endpointsPerSlice  = 100
	namespaceResync    = 5 * time.Minute
	quotaResync        = 5 * time.Minute
	discoveryPeriod    = 30 * time.Second
	scalePeriod        = 15 * time.Second
	scaleDownWindow    = 5 * time.Minute
	scaleTolerance     = 0.1
	cpuInitialization  = 5 * time.Minute
	initialReadiness   = 30 * time.Second
	daemonBackOff      = time.Second
	daemonBackOffLimit = 15 * time.Minute
)

// manager has what the controllers share.
type manager struct {
	controlplane.Options
	config    *rest.Config
	client    kubernetes.Interface
	metadata  metadata.Interface
	informers informers.SharedInformerFactory
	objects   informerfactory.InformerFactory // of every kind, by its metadata
	mapper    *restmapper.DeferredDiscoveryRESTMapper
	started   chan struct{} // closed when the informers run
}

// run is one controller's loop, which ends with ctx.
type run func(ctx context.Context)

// constructors returns, by name, what makes each controller.
func constructors() map[string]func(*manager, context.Context) (run, error) {
	return map[string]func(*manager, context.Context) (run, error){
		"clusterrole-aggregation":   (*manager).clusterRoles,
		"cronjob":                   (*manager).cronJobs,
		"daemonset":                 (*manager).daemonSets,
		"deployment":                (*manager).deployments,
		"disruption":                (*manager).disruptions,
		"endpoints":                 (*manager).endpoints,
		"endpointslice":             (*manager).endpointSlices,
		"garbage-collector":         (*manager).garbage,
		"horizontal-pod-autoscaler": (*manager).autoscalers,
		"job":                       (*manager).jobs,
		"namespace":                 (*manager).namespaces,
		"replicaset":                (*manager).replicaSets,
		"resourcequota":             (*manager).quotas,
		"root-ca-publisher":         (*manager).rootCA,
		"serviceaccount":            (*manager).serviceAccounts,
		"serviceaccount-token":      (*manager).serviceAccountTokens,
		"statefulset":               (*manager).statefulSets,
		"ttl-after-finished":        (*manager).finishedJobs,
	}
}

// Names returns the names of all controllers, sorted.
func Names() []string { return slices.Sorted(maps.Keys(constructors())) }

// Run runs all controllers until ctx ends, and returns an error if one of them cannot start.
func Run(ctx context.Context, o controlplane.Options) error {
	m, err := newManager(ctx, o)
	if err != nil {
		return err
	}
	var all []run
	for name, construct := range constructors() {
		loop, err := construct(m, klog.NewContext(ctx, klog.FromContext(ctx).WithName(name)))
		if err != nil {
			return fmt.Errorf("make the controller %s: %w", name, err)
		}
		all = append(all, loop)
	}
	m.objects.Start(ctx.Done())
	close(m.started)
	var running sync.WaitGroup
	for _, loop := range all {
		running.Go(func() { loop(ctx) })
	}
	running.Wait()
	return nil
}

func newManager(ctx context.Context, o controlplane.Options) (*manager, error) {
	config, err := o.ClientConfig()
	if err != nil {
		return nil, err
	}
	config.UserAgent = "controllers"
	typed := rest.CopyConfig(config)
	typed.ContentType = runtime.ContentTypeProtobuf
	client, err := kubernetes.NewForConfig(typed)
	if err != nil {
		return nil, fmt.Errorf("make a client for the controllers: %w", err)
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the controllers: %w", err)
	}
	m := &manager{
		Options: o, config: config, client: client, metadata: metadataClient, started: make(chan struct{}),
		informers: informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(controlplane.WithoutManagedFields)),
		mapper:    restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery())),
	}
	m.objects = informerfactory.NewInformerFactory(m.informers,
		metadatainformer.NewSharedInformerFactoryWithOptions(metadataClient, 0, metadatainformer.WithTransform(controlplane.WithoutManagedFields)))
	go wait.UntilWithContext(ctx, func(context.Context) { m.mapper.Reset() }, discoveryPeriod)
	return m, nil
}

func (m *manager) endpoints(ctx context.Context) (run, error) {
	core := m.informers.Core().V1()
	c := endpoint.NewEndpointController(ctx, core.Pods(), core.Services(), core.Endpoints(), m.client, 0)
	return func(ctx context.Context) { c.Run(ctx, workers) }, nil
}

func (m *manager) endpointSlices(ctx context.Context) (run, error) {
	core := m.informers.Core().V1()
	c := endpointslice.NewController(ctx, core.Pods(), core.Services(), core.Nodes(), m.informers.Discovery().V1().EndpointSlices(),
		endpointsPerSlice, m.client, 0)
	return func(ctx context.Context) { c.Run(ctx, workers) }, nil
}

func (m *manager) namespaces(ctx context.Context) (run, error) {
	c := namespace.NewNamespaceController(ctx, m.client, m.metadata, m.client.Discovery().ServerPreferredNamespacedResources,
		m.informers.Core().V1().Namespaces(), namespaceResync, corev1.FinalizerKubernetes)
	return func(ctx context.Context) { c.Run(ctx, workers) }, nil
}

// scales returns the client of the scale subresource of every kind.
func (m *manager) scales() (scale.ScalesGetter, error) {
	return scale.NewForConfig(m.config, m.mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(m.client.Discovery()))
}

func (m *manager) disruptions(ctx context.Context) (run, error) {
	scales, err := m.scales()
	if err != nil {
		return nil, err
	}
	core, apps := m.informers.Core().V1(), m.informers.Apps().V1()
	c := disruption.NewDisruptionController(ctx, core.Pods(), m.informers.Policy().V1().PodDisruptionBudgets(), core.ReplicationControllers(),
		apps.ReplicaSets(), apps.Deployments(), apps.StatefulSets(), m.client, m.mapper, scales, m.client.Discovery())
	return func(ctx context.Context) { c.Run(ctx, workers) }, nil
}

func (m *manager) autoscalers(ctx context.Context) (run, error) {
	scales, err := m.scales()
	if err != nil {
		return nil, err
	}
	resources, err := resourceclient.NewForConfig(m.config)
	if err != nil {
		return nil, err
	}
	external, err := external_metrics.NewForConfig(m.config)
	if err != nil {
		return nil, err
	}
	available := custom_metrics.NewAvailableAPIsGetter(m.client.Discovery())
	source := podmetrics.NewRESTMetricsClient(resources, custom_metrics.NewForConfig(m.config, m.mapper, available), external)
	c := podautoscaler.NewHorizontalController(ctx, m.client.CoreV1(), scales, m.client.AutoscalingV2(), m.mapper, source,
		m.informers.Autoscaling().V2().HorizontalPodAutoscalers(), m.informers.Core().V1().Pods(),
		scalePeriod, scaleDownWindow, scaleTolerance, cpuInitialization, initialReadiness)
	return func(ctx context.Context) {
		go custom_metrics.PeriodicallyInvalidate(available, scalePeriod, ctx.Done())
		c.Run(ctx, workers)
	}, nil
}

func (m *manager) garbage(ctx context.Context) (run, error) {
	graph := garbagecollector.NewDependencyGraphBuilder(ctx, m.metadata, m.mapper, map[schema.GroupResource]struct{}{
		{Resource: "events"}: {}, {Group: "events.k8s.io", Resource: "events"}: {},
	}, m.objects, m.started)
	c, err := garbagecollector.NewComposedGarbageCollector(ctx, m.client, m.metadata, m.mapper, graph)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) {
		go c.Sync(ctx, m.client.Discovery(), discoveryPeriod)
		c.Run(ctx, workers, discoveryPeriod)
	}, nil
}

func (m *manager) quotas(ctx context.Context) (run, error) {
	kinds := m.client.Discovery().ServerPreferredNamespacedResources
	quotas, err := install.NewQuotaConfigurationForControllers(quotageneric.ListerFuncForResourceFunc(m.informers.ForResource), m.informers)
	if err != nil {
		return nil, err
	}
	c, err := resourcequota.NewController(ctx, &resourcequota.ControllerOptions{
		QuotaClient: m.client.CoreV1(), ResourceQuotaInformer: m.informers.Core().V1().ResourceQuotas(),
		ResyncPeriod: controller.StaticResyncPeriodFunc(quotaResync), ReplenishmentResyncPeriod: controller.NoResyncPeriodFunc,
		InformerFactory: m.objects, InformersStarted: m.started, DiscoveryFunc: kinds, IgnoredResourcesFunc: quotas.IgnoredResources,
		Registry: quotageneric.NewRegistry(quotas.Evaluators()), UpdateFilter: install.DefaultUpdateFilter(),
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) {
		go c.Sync(ctx, kinds, discoveryPeriod)
		c.Run(ctx, workers)
	}, nil
}
