package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The demo's own limit on requests per second, and how many more at once.
const (
	requestRate  = 50
	requestBurst = 100
)

// choose returns the client configuration of a context of the kubeconfig, which it finds as
// kubectl does: in the files of KUBECONFIG, or in ~/.kube/config. The current context of
// these files plays no role.
func choose(name string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	kubeconfig, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w; set KUBECONFIG to its path", err)
	}
	if _, ok := kubeconfig.Contexts[name]; !ok {
		files := strings.Join(rules.GetLoadingPrecedence(), ", ")
		if len(kubeconfig.Contexts) == 0 {
			return nil, fmt.Errorf("choose context %q: %s has no contexts; set KUBECONFIG to the file of your cluster", name, files)
		}
		return nil, fmt.Errorf("choose context %q: %s has no such context; there are: %s",
			name, files, strings.Join(slices.Sorted(maps.Keys(kubeconfig.Contexts)), ", "))
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*kubeconfig, name, &clientcmd.ConfigOverrides{}, rules).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read context %q of the kubeconfig: %w", name, errors.Join(err, errors.New("`kubectl config view` shows it")))
	}
	config.QPS, config.Burst = requestRate, requestBurst
	return config, nil
}

// serverVersion returns the version of the API server.
func serverVersion(ctx context.Context, config *rest.Config) (*version.Info, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	text, err := client.RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	var info version.Info
	return &info, json.Unmarshal(text, &info)
}
