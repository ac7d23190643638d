package cli

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/internal/serve"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
)

// completionTimeout limits how long a shell waits for a completion.
const completionTimeout = 3 * time.Second

// completeReleases completes a command's only argument to a release.
func completeReleases(a *serve.Access) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return releaseNames(cmd.Context(), *a, prefix), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeNamespaces completes a command's only argument to a namespace with releases.
func completeNamespaces(a *serve.Access) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var namespaces []string
		for _, name := range releaseNames(cmd.Context(), *a, prefix) {
			namespace, _, _ := strings.Cut(name, "/")
			namespaces = append(namespaces, namespace)
		}
		return slices.Compact(namespaces), cobra.ShellCompDirectiveNoFileComp
	}
}

// releaseNames returns the cluster's releases that begin with the prefix, as
// NAMESPACE/RELEASE.
func releaseNames(ctx context.Context, a serve.Access, prefix string) []string {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	var names []string
	for _, k := range listReleases(ctx, a, prefix) {
		if strings.HasPrefix(k.String(), prefix) {
			names = append(names, k.String())
		}
	}
	return names
}

// listReleases lists the releases of the prefix's namespace, or of all namespaces if the
// prefix does not contain a whole one; if the operator may not list all, those of the
// kubeconfig's namespace. A completion has no place for errors.
func listReleases(ctx context.Context, a serve.Access, prefix string) []rollback.Key {
	in, err := serve.FindCluster(serve.Access{Kubeconfig: a.Kubeconfig, Context: a.Context})
	if err != nil {
		return nil
	}
	client, err := helm.New(helm.Options{Config: in.Config, Storages: []rollback.Storage{rollback.Secrets, rollback.ConfigMaps}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil
	}
	namespace, _, complete := strings.Cut(prefix, "/")
	if !complete {
		namespace = ""
	}
	keys, err := client.Names(ctx, namespace)
	if err != nil && len(keys) == 0 && !complete {
		keys, _ = client.Names(ctx, in.Namespace)
	}
	return keys
}
