package apiserver

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	validatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	serveroptions "k8s.io/apiserver/pkg/server/options"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/dynamic"
	aggregator "k8s.io/kube-aggregator/pkg/apiserver"
	kubeadmission "k8s.io/kubernetes/pkg/controlplane/apiserver/admission"
	"k8s.io/kubernetes/plugin/pkg/admission/defaulttolerationseconds"
	"k8s.io/kubernetes/plugin/pkg/admission/limitranger"
	"k8s.io/kubernetes/plugin/pkg/admission/network/defaultingressclass"
	podpriority "k8s.io/kubernetes/plugin/pkg/admission/priority"
	"k8s.io/kubernetes/plugin/pkg/admission/security/podsecurity"
	"k8s.io/kubernetes/plugin/pkg/admission/serviceaccount"
	"k8s.io/kubernetes/plugin/pkg/admission/storage/storageclass/setdefault"
)

// Plugins are the admission plugins, in kube-apiserver's order.
func Plugins() []string {
	return []string{
		lifecycle.PluginName, limitranger.PluginName, serviceaccount.PluginName, podsecurity.PluginName, podpriority.PluginName,
		defaulttolerationseconds.PluginName, setdefault.PluginName, defaultingressclass.PluginName,
		mutatingpolicy.PluginName, mutatingwebhook.PluginName, validatingpolicy.PluginName, validatingwebhook.PluginName,
		resourcequota.PluginName,
	}
}

// admit configures the admission plugins. It returns what finds the addresses of webhooks and aggregated APIs.
func (a *apiServer) admit() (webhook.ServiceResolver, error) {
	o := serveroptions.NewAdmissionOptions()
	for _, register := range []func(*admission.Plugins){
		limitranger.Register, serviceaccount.Register, podsecurity.Register, podpriority.Register, defaulttolerationseconds.Register,
		setdefault.Register, defaultingressclass.Register, resourcequota.Register,
	} {
		register(o.Plugins)
	}
	o.RecommendedPluginOrder, o.DefaultOffPlugins = Plugins(), sets.New[string]()

	own, err := url.Parse(a.config.LoopbackClientConfig.Host)
	if err != nil {
		return nil, fmt.Errorf("parse the API server's own address: %w", err)
	}
	resolver := aggregator.NewLoopbackServiceResolver(
		aggregator.NewClusterIPServiceResolver(a.informers.Core().V1().Services().Lister()), own)
	initializers, err := (&kubeadmission.Config{
		LoopbackClientConfig: a.config.LoopbackClientConfig, ExternalInformers: a.informers, APIResourceConfig: a.config.MergedResourceConfig,
	}).New(transport(), nil, resolver, a.config.TracerProvider)
	if err != nil {
		return nil, fmt.Errorf("configure admission: %w", err)
	}
	objects, err := dynamic.NewForConfig(a.config.LoopbackClientConfig)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server itself: %w", err)
	}
	err = o.ApplyTo(a.config, a.informers, a.client, objects, utilfeature.DefaultFeatureGate, a.config.EffectiveVersion,
		initializers...)
	if err != nil {
		return nil, fmt.Errorf("configure admission: %w", err)
	}
	return resolver, nil
}

// transport is for connections to pods, which are dialled by their IPs: no certificate can match.
func transport() *http.Transport {
	return utilnet.SetTransportDefaults(&http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}) //nolint:gosec // as kube-apiserver
}
