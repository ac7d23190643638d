package cli

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"
)

// kubectl finds a program with the name pluginName as `kubectl backout`, and runs
// completerName to complete its arguments.
const (
	pluginName    = "kubectl-backout"
	completerName = "kubectl_complete-backout"
)

// New returns the program. The first of args is its path: links with other names to the
// same file make it a kubectl plugin. It prints to the standard output and error.
func New(env envconfig.Lookuper, args []string) *cobra.Command {
	called := strings.TrimSuffix(filepath.Base(args[0]), ".exe")
	plugin := called == pluginName || called == completerName
	program := "backout"
	if plugin {
		program = "kubectl backout"
	}
	serve := serveCommand(env)
	root := &cobra.Command{
		Use:   "backout",
		Short: "Take bad canaries out of rotation and roll their Helm releases back",
		Long: `backout takes bad canaries out of rotation and rolls their Helm releases back, when Alertmanager
posts an alert about them. Without a command it serves, as with the command serve. The other commands are for operators: they
use your kubeconfig and your own Kubernetes rights, whether or not backout runs in the cluster.`,
		Args:          cobra.NoArgs,
		RunE:          serve.RunE,
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: program},
	}
	if plugin { // an operator who types `kubectl backout` does not mean to serve
		root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	root.AddCommand(
		serve, holdCommand(env, program), unholdCommand(env), pauseCommand(env, program), resumeCommand(env), rollbackCommand(env),
		recordsCommand(), explainCommand(), planCommand(env), rulesCommand(), checkCommand(), versionCommand(),
	)
	root.SetOut(&terminal{to: os.Stdout})
	root.SetErr(&terminal{to: os.Stderr})
	root.SetArgs(args[1:])
	if called == completerName {
		root.SetArgs(append([]string{cobra.ShellCompRequestCmd}, args[1:]...))
	}
	return root
}
