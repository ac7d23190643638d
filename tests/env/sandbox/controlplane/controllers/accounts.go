package controllers

import (
	"context"
	"os"

	"k8s.io/client-go/util/keyutil"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
	tokens "k8s.io/kubernetes/pkg/serviceaccount"
)

func (m *manager) serviceAccounts(ctx context.Context) (run, error) {
	core := m.informers.Core().V1()
	c, err := serviceaccount.NewServiceAccountsController(klog.FromContext(ctx), core.ServiceAccounts(), core.Namespaces(), m.client,
		serviceaccount.DefaultServiceAccountsControllerOptions())
	return func(ctx context.Context) { c.Run(ctx, workers) }, err
}

func (m *manager) serviceAccountTokens(ctx context.Context) (run, error) {
	key, err := keyutil.PrivateKeyFromFile(m.ServiceAccountKey)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(m.ServingCert)
	if err != nil {
		return nil, err
	}
	generator, err := tokens.JWTTokenGenerator(tokens.LegacyIssuer, key)
	if err != nil {
		return nil, err
	}
	core := m.informers.Core().V1()
	c, err := serviceaccount.NewTokensController(klog.FromContext(ctx), core.ServiceAccounts(), core.Secrets(), m.client,
		serviceaccount.TokensControllerOptions{TokenGenerator: generator, RootCA: ca})
	return func(ctx context.Context) { c.Run(ctx, workers) }, err
}

func (m *manager) rootCA(context.Context) (run, error) {
	ca, err := os.ReadFile(m.ServingCert)
	if err != nil {
		return nil, err
	}
	core := m.informers.Core().V1()
	c, err := rootcacertpublisher.NewPublisher(core.ConfigMaps(), core.Namespaces(), m.client, ca)
	return func(ctx context.Context) { c.Run(ctx, 1) }, err
}

func (m *manager) clusterRoles(context.Context) (run, error) {
	c := clusterroleaggregation.NewClusterRoleAggregation(m.informers.Rbac().V1().ClusterRoles(), m.client.RbacV1())
	return func(ctx context.Context) { c.Run(ctx, workers) }, nil
}
