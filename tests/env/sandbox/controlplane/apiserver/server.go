// Package apiserver is an API server of the groups, admission plugins and authorizers that the sandbox needs. All of them are
// Kubernetes' own packages; the composition is this package's, in place of kube-apiserver's, which links all there are.
package apiserver

import (
	"context"
	"fmt"
	"net"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/filters"
	serveroptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	utilopenapi "k8s.io/apiserver/pkg/util/openapi"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/events"
	"k8s.io/kubernetes/pkg/capabilities"
	generatedopenapi "k8s.io/kubernetes/pkg/generated/openapi"

	"github.com/upcommerce/backout/tests/env/sandbox/controlplane"
)

const protobuf = "application/vnd.kubernetes.protobuf"

// apiServer is what the three servers of an API server share: the built-in groups, CustomResourceDefinitions, and the
// aggregator in front of both.
type apiServer struct {
	controlplane.Options
	clusterIPs net.IPNet
	config     *server.Config
	etcd       *serveroptions.EtcdOptions
	factory    *storage.DefaultStorageFactory
	informers  informers.SharedInformerFactory
	client     *kubernetes.Clientset // of the loopback connection, a member of system:masters
}

// Run runs an API server until ctx ends, and returns an error if it cannot start or go on.
func Run(ctx context.Context, o controlplane.Options) error {
	_, clusterIPs, err := net.ParseCIDR(o.ServiceCIDR)
	if err != nil {
		return fmt.Errorf("parse the range of ClusterIPs: %w", err)
	}
	capabilities.Setup(true, 0) // privileged containers are permitted, as kubeadm's are
	a := &apiServer{Options: o, clusterIPs: *clusterIPs}
	for _, prepare := range []func(context.Context) error{a.serve, a.store, a.authenticate, a.authorize, a.audit} {
		if err := prepare(ctx); err != nil {
			return err
		}
	}
	resolver, err := a.admit()
	if err != nil {
		return err
	}
	chain, err := a.chain(resolver)
	if err != nil {
		return err
	}
	prepared, err := chain.PrepareRun()
	if err != nil {
		return fmt.Errorf("prepare the API server: %w", err)
	}
	return prepared.Run(ctx)
}

// serve configures the listener, the loopback client and the description of the API.
func (a *apiServer) serve(context.Context) error {
	a.config = server.NewConfig(legacyscheme.Codecs)
	run := serveroptions.NewServerRunOptions()
	if err := run.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("set Kubernetes' feature gates: %w", err)
	}
	run.AdvertiseAddress, run.ExternalHost = net.ParseIP(a.Address), a.Address
	if err := run.Complete(); err != nil {
		return fmt.Errorf("complete the options of the API server: %w", err)
	}
	if err := run.ApplyTo(a.config); err != nil {
		return fmt.Errorf("configure the API server: %w", err)
	}
	secure := serveroptions.NewSecureServingOptions()
	secure.BindAddress, secure.BindPort = net.ParseIP(a.Address), a.Port
	secure.ServerCert.CertKey = serveroptions.CertKey{CertFile: a.ServingCert, KeyFile: a.ServingKey}
	if err := secure.WithLoopback().ApplyToConfig(a.config); err != nil {
		return fmt.Errorf("listen for requests to the API server: %w", err)
	}
	loopback := a.config.LoopbackClientConfig
	loopback.ContentType, loopback.DisableCompression = protobuf, true
	var err error
	if a.client, err = kubernetes.NewForConfig(loopback); err != nil {
		return fmt.Errorf("make a client of the API server itself: %w", err)
	}
	a.informers = informers.NewSharedInformerFactoryWithOptions(a.client, resync, informers.WithTransform(controlplane.WithoutManagedFields))

	definitions := utilopenapi.GetOpenAPIDefinitionsWithoutDisabledFeatures(generatedopenapi.GetOpenAPIDefinitions)
	namer := openapi.NewDefinitionNamer(legacyscheme.Scheme, apiextensions.Scheme, aggregatorscheme.Scheme)
	a.config.OpenAPIConfig = server.DefaultOpenAPIConfig(definitions, namer)
	a.config.OpenAPIV3Config = server.DefaultOpenAPIV3Config(definitions, namer)
	a.config.OpenAPIConfig.Info.Title, a.config.OpenAPIV3Config.Info.Title = "Kubernetes", "Kubernetes"
	a.config.LongRunningFunc = filters.BasicLongRunningRequestCheck(
		sets.NewString("watch", "proxy"), sets.NewString("attach", "exec", "proxy", "log", "portforward"))
	a.config.AggregatedDiscoveryGroupManager = aggregated.NewResourceManager("apis")
	return nil
}

// store connects the built-in groups with etcd.
func (a *apiServer) store(context.Context) error {
	a.config.MergedResourceConfig = servedVersions()
	a.etcd = serveroptions.NewEtcdOptions(storagebackend.NewDefaultConfig("/registry", nil))
	a.etcd.StorageConfig.Transport.ServerList = []string{controlplane.EtcdURL}
	a.etcd.StorageConfig.StorageObjectCountTracker = a.config.StorageObjectCountTracker
	a.etcd.DefaultStorageMediaType = protobuf
	encoding := storage.NewDefaultResourceEncodingConfigForEffectiveVersion(legacyscheme.Scheme, a.config.EffectiveVersion)
	a.factory = storage.NewDefaultStorageFactory(
		a.etcd.StorageConfig, protobuf, legacyscheme.Codecs, encoding, a.config.MergedResourceConfig, nil)
	// Both groups have the same Events.
	a.factory.AddCohabitatingResources(core.Resource("events"), events.Resource("events"))
	if err := a.etcd.ApplyWithStorageFactoryTo(a.factory, a.config); err != nil {
		return fmt.Errorf("connect the API server with etcd: %w", err)
	}
	return nil
}

// audit writes the requests that the policy names.
func (a *apiServer) audit(context.Context) error {
	o := serveroptions.NewAuditOptions()
	o.PolicyFile, o.LogOptions.Path = a.AuditPolicy, a.AuditLog
	if err := o.ApplyTo(a.config); err != nil {
		return fmt.Errorf("audit requests to the API server: %w", err)
	}
	return nil
}
