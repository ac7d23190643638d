package apiserver

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	authorizers "k8s.io/apiserver/pkg/authorization/union"
	"k8s.io/client-go/util/keyutil"
	controller "k8s.io/kubernetes/pkg/controller/serviceaccount"
	"k8s.io/kubernetes/pkg/serviceaccount"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"

	"github.com/upcommerce/backout/tests/env/sandbox/controlplane"
)

// tokenCache is how long kube-apiserver trusts a token that it has checked.
const tokenCache = 10 * time.Second

// authenticate accepts the tokens of the file and those of service accounts, and calls other requests anonymous.
func (a *apiServer) authenticate(context.Context) error {
	file, err := tokenfile.NewCSV(a.Tokens)
	if err != nil {
		return fmt.Errorf("read the tokens of the API server's users: %w", err)
	}
	keys, err := keyutil.PublicKeysFromFile(a.ServiceAccountKey)
	if err != nil {
		return fmt.Errorf("read the service accounts' key: %w", err)
	}
	public, err := serviceaccount.StaticPublicKeysGetter(keys)
	if err != nil {
		return fmt.Errorf("read the service accounts' key: %w", err)
	}
	core, hooks := a.informers.Core().V1(), a.informers.Admissionregistration().V1()
	getter := controller.NewGetterFromClient(a.client, core.Secrets().Lister(), core.ServiceAccounts().Lister(), core.Pods().Lister(),
		core.Nodes().Lister(), hooks.ValidatingWebhookConfigurations().Lister(), hooks.MutatingWebhookConfigurations().Lister())
	legacy, err := serviceaccount.NewLegacyValidator(true, getter, a.client.CoreV1())
	if err != nil {
		return fmt.Errorf("check the tokens in Secrets: %w", err)
	}
	audiences := authenticator.Audiences{controlplane.Issuer}
	tokens := tokenunion.New(
		authenticator.WrapAudienceAgnosticToken(audiences, file),
		serviceaccount.JWTTokenAuthenticator([]string{serviceaccount.LegacyIssuer}, public, audiences, legacy),
		serviceaccount.JWTTokenAuthenticator([]string{controlplane.Issuer}, public, audiences, serviceaccount.NewValidator(getter)),
	)
	known := group.NewAuthenticatedGroupAdder(union.New(bearertoken.New(cache.New(tokens, true, tokenCache, 0))))
	a.config.Authentication.Authenticator = union.NewFailOnError(known, anonymous.NewAuthenticator(nil))
	a.config.Authentication.APIAudiences = audiences
	return nil
}

// authorize allows what RBAC allows, and everything to the group system:masters.
func (a *apiServer) authorize(context.Context) error {
	r := a.informers.Rbac().V1()
	byRoles := rbac.New(
		&rbac.RoleGetter{Lister: r.Roles().Lister()},
		&rbac.RoleBindingLister{Lister: r.RoleBindings().Lister()},
		&rbac.ClusterRoleGetter{Lister: r.ClusterRoles().Lister()},
		&rbac.ClusterRoleBindingLister{Lister: r.ClusterRoleBindings().Lister()},
	)
	a.config.RuleResolver = byRoles
	var err error
	a.config.Authorization.Authorizer, err = authorizers.New(
		authorizers.NamedAuthorizer{AuthorizerName: "privileged", Authorizer: authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup)},
		authorizers.NamedAuthorizer{AuthorizerName: "rbac", Authorizer: byRoles},
	)
	return err
}
