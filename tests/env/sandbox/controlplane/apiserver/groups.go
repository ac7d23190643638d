package apiserver

import (
	"fmt"
	"maps"
	"slices"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/client-go/util/keyutil"
	kubeletclient "k8s.io/kubernetes/pkg/kubelet/client"
	admissionregistrationrest "k8s.io/kubernetes/pkg/registry/admissionregistration/rest"
	appsrest "k8s.io/kubernetes/pkg/registry/apps/rest"
	authenticationrest "k8s.io/kubernetes/pkg/registry/authentication/rest"
	authorizationrest "k8s.io/kubernetes/pkg/registry/authorization/rest"
	autoscalingrest "k8s.io/kubernetes/pkg/registry/autoscaling/rest"
	batchrest "k8s.io/kubernetes/pkg/registry/batch/rest"
	coordinationrest "k8s.io/kubernetes/pkg/registry/coordination/rest"
	corerest "k8s.io/kubernetes/pkg/registry/core/rest"
	discoveryrest "k8s.io/kubernetes/pkg/registry/discovery/rest"
	eventsrest "k8s.io/kubernetes/pkg/registry/events/rest"
	networkingrest "k8s.io/kubernetes/pkg/registry/networking/rest"
	policyrest "k8s.io/kubernetes/pkg/registry/policy/rest"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
	resourcerest "k8s.io/kubernetes/pkg/registry/resource/rest"
	schedulingrest "k8s.io/kubernetes/pkg/registry/scheduling/rest"
	storagerest "k8s.io/kubernetes/pkg/registry/storage/rest"
	"k8s.io/kubernetes/pkg/serviceaccount"

	"github.com/upcommerce/backout/tests/env/sandbox/controlplane"
)

// The defaults of kube-apiserver.
const (
	eventTTL       = time.Hour
	kubeletPort    = 10250 // nothing listens there: logs and exec do not work
	repairInterval = 3 * time.Minute
	resync         = 10 * time.Minute
)

// priority orders the groups and their versions in discovery, as kube-apiserver does: kubectl takes a short name from the first.
type priority struct{ group, version int32 }

// versions are the versions of the built-in groups that the API server serves; all other groups and versions are left out.
func versions() map[schema.GroupVersion]priority {
	return map[schema.GroupVersion]priority{
		corev1.SchemeGroupVersion:                  {18000, 1},
		appsv1.SchemeGroupVersion:                  {17800, 15},
		eventsv1.SchemeGroupVersion:                {17750, 15},
		authenticationv1.SchemeGroupVersion:        {17700, 15},
		authorizationv1.SchemeGroupVersion:         {17600, 15},
		autoscalingv1.SchemeGroupVersion:           {17500, 15},
		autoscalingv2.SchemeGroupVersion:           {17500, 30},
		batchv1.SchemeGroupVersion:                 {17400, 15},
		networkingv1.SchemeGroupVersion:            {17200, 15},
		policyv1.SchemeGroupVersion:                {17100, 15},
		rbacv1.SchemeGroupVersion:                  {17000, 15},
		storagev1.SchemeGroupVersion:               {16800, 15},
		admissionregistrationv1.SchemeGroupVersion: {16700, 15},
		schedulingv1.SchemeGroupVersion:            {16600, 15},
		coordinationv1.SchemeGroupVersion:          {16500, 15},
		// Quotas follow its objects.
		resourcev1.SchemeGroupVersion:  {16200, 21},
		discoveryv1.SchemeGroupVersion: {16200, 15},
	}
}

// Groups returns the groups and versions that are served besides those of CustomResourceDefinitions and APIServices, sorted.
func Groups() []string {
	var all []string
	for v := range versions() {
		all = append(all, v.String())
	}
	slices.Sort(all)
	return all
}

func servedVersions() *storage.ResourceConfig {
	served := storage.NewResourceConfig()
	served.EnableVersions(slices.Collect(maps.Keys(versions()))...)
	return served
}

// provider makes the storage of a group's resources.
type provider interface {
	GroupName() string
	NewRESTStorage(storage.APIResourceConfigSource, generic.RESTOptionsGetter) (server.APIGroupInfo, error)
}

// providers returns the providers of all groups that are served.
func (a *apiServer) providers() ([]provider, error) {
	core, err := a.core()
	if err != nil {
		return nil, err
	}
	access := a.config.Authorization.Authorizer
	return []provider{
		core,
		authenticationrest.RESTStorageProvider{
			Authenticator: a.config.Authentication.Authenticator, APIAudiences: a.config.Authentication.APIAudiences,
		},
		authorizationrest.RESTStorageProvider{Authorizer: access, RuleResolver: a.config.RuleResolver},
		autoscalingrest.RESTStorageProvider{},
		batchrest.RESTStorageProvider{},
		coordinationrest.RESTStorageProvider{},
		discoveryrest.StorageProvider{},
		networkingrest.RESTStorageProvider{},
		policyrest.RESTStorageProvider{},
		rbacrest.RESTStorageProvider{Authorizer: access},
		schedulingrest.RESTStorageProvider{},
		storagerest.RESTStorageProvider{},
		appsrest.StorageProvider{},
		admissionregistrationrest.RESTStorageProvider{Authorizer: access, DiscoveryClient: a.client.Discovery()},
		eventsrest.RESTStorageProvider{TTL: eventTTL},
		resourcerest.RESTStorageProvider{NamespaceClient: a.client.CoreV1().Namespaces(), Authorizer: access},
	}, nil
}

// core returns the provider of the group without a name: Pods, Services, Secrets and so on.
func (a *apiServer) core() (provider, error) {
	key, err := keyutil.PrivateKeyFromFile(a.ServiceAccountKey)
	if err != nil {
		return nil, fmt.Errorf("read the service accounts' key: %w", err)
	}
	tokens, err := serviceaccount.JWTTokenGenerator(controlplane.Issuer, key)
	if err != nil {
		return nil, fmt.Errorf("sign the tokens of service accounts: %w", err)
	}
	slices, err := proxy.NewEndpointSliceIndexerGetter(a.informers.Discovery().V1().EndpointSlices())
	if err != nil {
		return nil, fmt.Errorf("index the EndpointSlices: %w", err)
	}
	core, err := corerest.New(corerest.Config{
		GenericConfig: corerest.GenericConfig{
			StorageFactory: a.factory, EventTTL: eventTTL, LoopbackClientConfig: a.config.LoopbackClientConfig, Informers: a.informers,
			ServiceAccountIssuer: tokens, APIAudiences: a.config.Authentication.APIAudiences,
		},
		Proxy: corerest.ProxyConfig{
			Transport: transport(), KubeletClientConfig: kubeletclient.KubeletClientConfig{Port: kubeletPort},
		},
		Services: corerest.ServicesConfig{
			ClusterIPRange: a.clusterIPs, NodePortRange: utilnet.PortRange{Base: 30000, Size: 2768}, IPRepairInterval: repairInterval,
		},
		EndpointSliceGetter: slices,
		Authorizer:          a.config.Authorization.Authorizer,
	}, a.config.Authorization.Authorizer)
	if err != nil {
		return nil, fmt.Errorf("store the objects of the core group: %w", err)
	}
	return core, nil
}

// install installs all groups.
func (a *apiServer) install(s *server.GenericAPIServer) error {
	providers, err := a.providers()
	if err != nil {
		return err
	}
	var named []*server.APIGroupInfo
	for _, p := range providers {
		group, err := p.NewRESTStorage(a.config.MergedResourceConfig, a.config.RESTOptionsGetter)
		if err != nil {
			return fmt.Errorf("store the objects of the group %q: %w", p.GroupName(), err)
		}
		if starter, ok := p.(server.PostStartHookProvider); ok {
			name, hook, err := starter.PostStartHook()
			if err != nil {
				return fmt.Errorf("prepare the group %q: %w", p.GroupName(), err)
			}
			s.AddPostStartHookOrDie(name, hook)
		}
		if p.GroupName() != corev1.GroupName {
			named = append(named, &group)
			continue
		}
		if err := s.InstallLegacyAPIGroup(server.DefaultLegacyAPIPrefix, &group); err != nil {
			return fmt.Errorf("install the core group: %w", err)
		}
	}
	if err := s.InstallAPIGroups(named...); err != nil {
		return fmt.Errorf("install the API groups: %w", err)
	}
	return nil
}
