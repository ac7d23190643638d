package apiserver

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	apiextensionsoptions "k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	endpointfilters "k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/server"
	serveroptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/util/notfoundhandler"
	"k8s.io/apiserver/pkg/util/webhook"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistrationv1beta1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1beta1"
	aggregator "k8s.io/kube-aggregator/pkg/apiserver"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	apiregistrationclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/controllers/autoregister"
	"k8s.io/kubernetes/pkg/controlplane/controller/crdregistration"
	"k8s.io/kubernetes/pkg/controlplane/controller/defaultservicecidr"
	"k8s.io/kubernetes/pkg/controlplane/controller/kubernetesservice"
	"k8s.io/kubernetes/pkg/controlplane/controller/systemnamespaces"
	"k8s.io/kubernetes/pkg/controlplane/reconcilers"
)

// chain makes the three servers. A request that the aggregator does not send to a Service goes to the built-in groups, and what
// these do not know, to the CustomResourceDefinitions.
func (a *apiServer) chain(resolver webhook.ServiceResolver) (*aggregator.APIAggregator, error) {
	custom, err := a.customResources(resolver)
	if err != nil {
		return nil, err
	}
	builtIn, err := a.builtIn(custom.GenericAPIServer)
	if err != nil {
		return nil, err
	}
	return a.aggregator(builtIn, custom, resolver)
}

// customResources makes the server of CustomResourceDefinitions and of their objects.
func (a *apiServer) customResources(resolver webhook.ServiceResolver) (*apiextensions.CustomResourceDefinitions, error) {
	config, etcd, err := a.derive(
		apiextensions.Codecs.LegacyCodec(apiextensionsv1beta1.SchemeGroupVersion, apiextensionsv1.SchemeGroupVersion),
		apiextensionsv1beta1.SchemeGroupVersion, apiextensions.DefaultAPIResourceConfigSource())
	if err != nil {
		return nil, err
	}
	nothing := notfoundhandler.New(a.config.Serializer, endpointfilters.NoMuxAndDiscoveryIncompleteKey)
	made, err := (&apiextensions.Config{
		GenericConfig: &server.RecommendedConfig{Config: config, SharedInformerFactory: a.informers},
		ExtraConfig: apiextensions.ExtraConfig{
			CRDRESTOptionsGetter: apiextensionsoptions.NewCRDRESTOptionsGetter(etcd, config.ResourceTransformers, config.StorageObjectCountTracker),
			MasterCount:          1,
			AuthResolverWrapper:  webhook.NewDefaultAuthenticationInfoResolverWrapper(transport(), nil, config.LoopbackClientConfig, config.TracerProvider),
			ServiceResolver:      resolver,
		},
	}).Complete().New(server.NewEmptyDelegateWithCustomHandler(nothing))
	if err != nil {
		return nil, fmt.Errorf("serve CustomResourceDefinitions: %w", err)
	}
	return made, nil
}

// builtIn makes the server of the built-in groups, with the controllers that are part of kube-apiserver.
func (a *apiServer) builtIn(next server.DelegationTarget) (*server.GenericAPIServer, error) {
	completed := a.config.Complete(a.informers)
	first := make(net.IP, len(a.clusterIPs.IP))
	copy(first, a.clusterIPs.IP)
	first[len(first)-1]++ // the Service kubernetes has the first ClusterIP
	completed.DiscoveryAddresses = discovery.DefaultAddresses{
		DefaultAddress: completed.ExternalAddress,
		CIDRRules:      []discovery.CIDRRule{{IPRange: a.clusterIPs, Address: net.JoinHostPort(first.String(), strconv.Itoa(servicePort))}},
	}
	s, err := completed.New("kube-apiserver", next)
	if err != nil {
		return nil, fmt.Errorf("serve the built-in groups: %w", err)
	}
	if err := a.install(s); err != nil {
		return nil, err
	}
	own := kubernetesservice.New(kubernetesservice.Config{
		PublicIP: completed.PublicAddress, PublicServicePort: a.Port, ServiceIP: first, ServicePort: servicePort,
		// Package services writes its endpoints: the API server listens where pods cannot reach it by the Service's address.
		EndpointReconciler: reconcilers.NewNoneEndpointReconciler(), EndpointInterval: repairInterval,
	}, a.client, a.informers.Core().V1().Services())
	s.AddPostStartHookOrDie("bootstrap-controller", func(c server.PostStartHookContext) error {
		own.Start(c.Done())
		return nil
	})
	// The allocators of ClusterIPs wait for it.
	addresses := defaultservicecidr.NewController(a.clusterIPs, net.IPNet{}, a.client)
	s.AddPostStartHookOrDie("start-kubernetes-service-cidr-controller", func(c server.PostStartHookContext) error {
		addresses.Start(c)
		return nil
	})
	namespaces := systemnamespaces.NewController(
		[]string{metav1.NamespaceSystem, metav1.NamespacePublic, metav1.NamespaceDefault, corev1.NamespaceNodeLease}, a.client, a.informers.Core().V1().Namespaces())
	s.AddPostStartHookOrDie("start-system-namespaces-controller", func(c server.PostStartHookContext) error {
		go namespaces.Run(c.Done())
		return nil
	})
	s.AddPostStartHookOrDie("storage-readiness", s.StorageReadinessHook.Hook)
	return s, nil
}

const (
	servicePort = 443 // of the Service kubernetes
	workers     = 5   // that keep APIServices
)

// aggregator makes the server in front: it serves the APIServices and sends requests to those that are Services.
func (a *apiServer) aggregator(builtIn *server.GenericAPIServer, custom *apiextensions.CustomResourceDefinitions,
	resolver webhook.ServiceResolver,
) (*aggregator.APIAggregator, error) {
	config, _, err := a.derive(
		aggregatorscheme.Codecs.LegacyCodec(apiregistrationv1.SchemeGroupVersion, apiregistrationv1beta1.SchemeGroupVersion),
		apiregistrationv1.SchemeGroupVersion, aggregator.DefaultAPIResourceConfigSource())
	if err != nil {
		return nil, err
	}
	config.SkipOpenAPIInstallation = true // it serves the sum of all
	s, err := (&aggregator.Config{
		GenericConfig: &server.RecommendedConfig{Config: config, SharedInformerFactory: a.informers},
		ExtraConfig:   aggregator.ExtraConfig{ServiceResolver: resolver, ProxyTransport: transport(), RejectForwardingRedirects: true},
	}).Complete().NewWithDelegate(builtIn)
	if err != nil {
		return nil, fmt.Errorf("serve the aggregated APIs: %w", err)
	}
	return s, a.register(s, builtIn, custom)
}

// register keeps an APIService for every group and version that is built in or defined.
func (a *apiServer) register(s *aggregator.APIAggregator, builtIn *server.GenericAPIServer, custom *apiextensions.CustomResourceDefinitions) error {
	client, err := apiregistrationclient.NewForConfig(a.config.LoopbackClientConfig)
	if err != nil {
		return fmt.Errorf("make a client of the API server itself: %w", err)
	}
	registration := autoregister.NewAutoRegisterController(s.APIRegistrationInformers.Apiregistration().V1().APIServices(), client)
	priorities := versions()
	priorities[apiextensionsv1.SchemeGroupVersion] = priority{16700, 15}
	for v, p := range priorities {
		a.config.AggregatedDiscoveryGroupManager.SetGroupVersionPriority(metav1.GroupVersion(v), int(p.group), int(p.version))
	}
	for _, path := range builtIn.ListedPaths() {
		if service := apiService(path, priorities); service != nil {
			registration.AddAPIServiceToSyncOnStart(service)
		}
	}
	defined := crdregistration.NewCRDRegistrationController(custom.Informers.Apiextensions().V1().CustomResourceDefinitions(), registration)
	return s.GenericAPIServer.AddPostStartHook("kube-apiserver-autoregistration", func(c server.PostStartHookContext) error {
		go defined.Run(workers, c.Done())
		go func() {
			// Otherwise registration would first delete the APIServices of definitions that it has not seen.
			defined.WaitForInitialSync()
			registration.Run(workers, c.Done())
		}()
		return nil
	})
}

// apiService returns the APIService of a path such as /apis/apps/v1, or nil for other paths.
func apiService(path string, priorities map[schema.GroupVersion]priority) *apiregistrationv1.APIService {
	version := schema.GroupVersion{Version: "v1"}
	if path != "/api/v1" {
		parts := strings.Split(path, "/")
		if len(parts) != 4 || parts[1] != "apis" {
			return nil
		}
		version = schema.GroupVersion{Group: parts[2], Version: parts[3]}
	}
	p, ok := priorities[version]
	if !ok {
		return nil
	}
	return &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: version.Version + "." + version.Group},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: version.Group, Version: version.Version, GroupPriorityMinimum: p.group, VersionPriority: p.version,
		},
	}
}

// derive returns the configuration of a server of its own kinds, which otherwise is the built-in groups'.
func (a *apiServer) derive(codec runtime.Codec, stored schema.GroupVersion, versions *storage.ResourceConfig) (server.Config, serveroptions.EtcdOptions, error) {
	config, etcd := *a.config, *a.etcd
	config.PostStartHooks, config.RESTOptionsGetter = map[string]server.PostStartHookConfigEntry{}, nil
	config.MergedResourceConfig = versions
	etcd.StorageConfig.Codec = codec
	etcd.StorageConfig.EncodeVersioner = runtime.NewMultiGroupVersioner(stored, schema.GroupKind{Group: stored.Group})
	etcd.SkipHealthEndpoints = true
	if err := etcd.ApplyTo(&config); err != nil {
		return config, etcd, fmt.Errorf("connect the API server with etcd: %w", err)
	}
	config.PostStartHooks = map[string]server.PostStartHookConfigEntry{} // they would be added twice
	return config, etcd, nil
}
