package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
)

// completionLimit bounds what a shell waits for.
const completionLimit = 3 * time.Second

// completeRelease offers the cluster's releases as NAMESPACE/RELEASE: those of the
// namespace that is written already, or of all. Where these may not be listed, those
// of the kubeconfig's namespace.
func (a access) completeRelease(ctx context.Context, written string) []string {
	ctx, cancel := context.WithTimeout(ctx, completionLimit)
	defer cancel()
	var names []string
	for _, k := range a.releases(ctx, written) {
		if strings.HasPrefix(k.String(), written) {
			names = append(names, k.String())
		}
	}
	return names
}

func (a access) releases(ctx context.Context, written string) []rollback.Key {
	own := access{kubeconfig: a.kubeconfig, context: a.context}
	in, err := findCluster(own)
	if err != nil {
		return nil
	}
	client, err := helm.New(helm.Options{Config: in.config, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil
	}
	namespace, _, named := strings.Cut(written, "/")
	if !named {
		namespace = ""
	}
	keys, err := client.Names(ctx, namespace)
	if err != nil && !named {
		keys, _ = client.Names(ctx, in.namespace)
	}
	return keys
}

// releaseCompletion completes a command's one argument with a release.
func releaseCompletion(a *access) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, written string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.completeRelease(cmd.Context(), written), cobra.ShellCompDirectiveNoFileComp
	}
}

// namespaceCompletion completes a command's one argument with a namespace that has
// releases.
func namespaceCompletion(a *access) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, written string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, name := range a.completeRelease(cmd.Context(), written) {
			namespace, _, _ := strings.Cut(name, "/")
			names = append(names, namespace)
		}
		return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
	}
}
