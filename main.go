// Command backout takes a bad canary out of the traffic and rolls its Helm
// release back, on an alert of Alertmanager's. Without a command it serves; its
// other commands are for people, under their own Kubernetes rights.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand(envconfig.OsLookuper(), os.Args).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "backout:", err)
		os.Exit(1)
	}
}

// pluginName is how the program has to be called for kubectl to find it as
// `kubectl backout`, and completerName for kubectl to ask it for completions.
const (
	pluginName    = "kubectl-backout"
	completerName = "kubectl_complete-backout"
)

// newCommand returns the whole program. The first of args is how it was called:
// links to one file make it a plugin of kubectl's.
func newCommand(env envconfig.Lookuper, args []string) *cobra.Command {
	called := strings.TrimSuffix(filepath.Base(args[0]), ".exe")
	program := "backout"
	if called == pluginName || called == completerName {
		program = "kubectl backout"
	}
	serve := func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), env, cmd.ErrOrStderr()) }
	bare := serve
	if program != "backout" { // whoever types `kubectl backout` wants to look, not to serve
		bare = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	root := &cobra.Command{
		Use:           "backout",
		Short:         "Take bad canaries out of the traffic and roll their Helm releases back",
		Args:          cobra.NoArgs,
		RunE:          bare,
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: program},
	}
	root.AddCommand(&cobra.Command{
		Use: "serve", Short: "Receive alerts and act on them (the default); configured by BACKOUT_ variables",
		Args: cobra.NoArgs, RunE: serve,
	})
	root.AddCommand(handCommands(env, program)...)
	root.AddCommand(lookCommands()...)
	root.AddCommand(planCommand(env), rulesCommand(), checkCommand())
	root.SetArgs(args[1:])
	if called == completerName {
		root.SetArgs(append([]string{cobra.ShellCompRequestCmd}, args[1:]...))
	}
	return root
}

// run serves until ctx ends, then finishes what is in hand. It logs to out.
func run(ctx context.Context, env envconfig.Lookuper, out io.Writer) error {
	c, err := loadConfig(ctx, env)
	if err != nil {
		return fmt.Errorf("the environment is not right:\n%w", err)
	}
	in, err := findCluster(access{namespace: c.Namespace})
	if err != nil {
		return err
	}
	s, err := newService(c, in, newLogger(c.Log, out))
	if err != nil {
		return err
	}
	return s.serve(ctx)
}

func newLogger(c logConfig, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(out, options))
	}
	return slog.New(slog.NewJSONHandler(out, options))
}

// access says which cluster is meant; the zero value means kubectl's own.
type access struct {
	kubeconfig, context string
	// namespace is backout's own, if that is said.
	namespace string
}

// cluster is the one that backout works on.
type cluster struct {
	config *rest.Config
	// namespace is backout's own: that of its Lease.
	namespace string
}

// findCluster finds the cluster as kubectl does: KUBECONFIG, then the default
// file, then the pod's service account.
func findCluster(a access) (cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: a.context})
	config, err := loader.ClientConfig()
	if err != nil {
		return cluster{}, fmt.Errorf("find the cluster: %w; set KUBECONFIG, or run in a pod with a service account", err)
	}
	// The API server has its own fairness; a client-side limit would only delay
	// a shed.
	config.QPS = -1
	config.UserAgent = "backout"
	if a.namespace == "" {
		if a.namespace, _, err = loader.Namespace(); err != nil {
			return cluster{}, fmt.Errorf("find backout's own namespace: %w; set BACKOUT_NAMESPACE", err)
		}
	}
	return cluster{config: config, namespace: a.namespace}, nil
}
