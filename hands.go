package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/rollback/traffic"
)

// defaultNamespace is where people look for backout if nothing else is said.
const defaultNamespace = "backout"

// hands are what the commands for people share.
type hands struct {
	access access
	reason string
	// program is how people call backout: kubectl backout, where it is a plugin.
	program string
}

// handCommands returns hold, release, pause and resume. They work under the
// caller's own Kubernetes rights, whether or not a backout serves.
func handCommands(env envconfig.Lookuper, program string) []*cobra.Command {
	h := &hands{program: program}
	hold := &cobra.Command{
		Use:   "hold NAMESPACE/RELEASE",
		Short: "Take the release's canary out of the traffic, until other content is deployed or it is released",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.hold(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	release := &cobra.Command{
		Use:   "release NAMESPACE/RELEASE",
		Short: "Lift a hold: give the canary the weight that its newest revision declares",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.release(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	pause := &cobra.Command{
		Use:   "pause [NAMESPACE[/RELEASE]]",
		Short: "Have backout touch nothing: of a release, of a namespace, or at all",
		Args:  cobra.MaximumNArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return h.pause(cmd.Context(), cmd.OutOrStdout(), args) },
	}
	resume := &cobra.Command{
		Use:   "resume [NAMESPACE[/RELEASE]]",
		Short: "End a pause; what it was about is acted upon when its alerts are repeated",
		Args:  cobra.MaximumNArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return h.resume(cmd.Context(), cmd.OutOrStdout(), args) },
	}
	own, ok := env.Lookup(prefix + "NAMESPACE")
	if !ok || own == "" {
		own = defaultNamespace
	}
	all := []*cobra.Command{hold, release, pause, resume}
	for _, c := range all {
		h.access.register(c)
		c.ValidArgsFunction = releaseCompletion(&h.access)
		c.Flags().StringVar(&h.access.namespace, "backout-namespace", own, "namespace that backout itself runs in")
	}
	for _, c := range []*cobra.Command{hold, pause} {
		c.Flags().StringVar(&h.reason, "reason", "", "why, for whoever looks later")
	}
	return all
}

// tools are the parts that a command works with.
type tools struct {
	hand   rollback.Hand
	ledger *ledger.Ledger
}

func (h *hands) tools(ctx context.Context) (tools, error) {
	in, err := findCluster(h.access)
	if err != nil {
		return tools{}, err
	}
	clientset, err := kubernetes.NewForConfig(in.config)
	if err != nil {
		return tools{}, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	releases, err := helm.New(helm.Options{Config: in.config, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return tools{}, err
	}
	router, err := traffic.New(traffic.Options{Config: in.config})
	if err != nil {
		return tools{}, err
	}
	who, err := whoAmI(ctx, clientset)
	if err != nil {
		return tools{}, err
	}
	records := ledger.New(ledger.Options{Client: clientset, Own: in.namespace})
	return tools{
		ledger: records,
		hand:   rollback.Hand{Releases: releases, Traffic: router, Ledger: records, Who: who},
	}, nil
}

// whoAmI returns the caller's name, as `kubectl auth whoami` does.
func whoAmI(ctx context.Context, client kubernetes.Interface) (string, error) {
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("ask the API server who you are: %w", err)
	}
	return review.Status.UserInfo.Username, nil
}

// parseKey reads NAMESPACE/RELEASE.
func parseKey(text string) (rollback.Key, error) {
	namespace, release, found := strings.Cut(text, "/")
	if !found || namespace == "" || release == "" || strings.Contains(release, "/") {
		return rollback.Key{}, fmt.Errorf("%q: want NAMESPACE/RELEASE, such as canary-demo/canary-demo", text)
	}
	return rollback.Key{Namespace: namespace, Release: release}, nil
}

// parseScope reads what may be paused.
func parseScope(args []string) (ledger.Scope, error) {
	if len(args) == 0 {
		return ledger.Scope{}, nil
	}
	if !strings.Contains(args[0], "/") {
		return ledger.Scope{Namespace: args[0]}, nil
	}
	k, err := parseKey(args[0])
	return ledger.Scope(k), err
}

func (h *hands) hold(ctx context.Context, out io.Writer, name string) error {
	k, err := parseKey(name)
	if err != nil {
		return err
	}
	t, err := h.tools(ctx)
	if err != nil {
		return err
	}
	record, err := t.hand.Hold(ctx, k, h.reason)
	if err != nil {
		return withHint(err)
	}
	for _, w := range record.Weights {
		if _, err := fmt.Fprintln(out, w); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "revision %d of %s is held. To lift the hold: %s release %s\n", record.Revision, k, h.program, k)
	return err
}

func (h *hands) release(ctx context.Context, out io.Writer, name string) error {
	k, err := parseKey(name)
	if err != nil {
		return err
	}
	t, err := h.tools(ctx)
	if err != nil {
		return err
	}
	weights, err := t.hand.Release(ctx, k)
	if err != nil {
		return withHint(err)
	}
	for _, w := range weights {
		if _, err := fmt.Fprintln(out, w); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "%s is not held any more.\n", k)
	return err
}

func (h *hands) pause(ctx context.Context, out io.Writer, args []string) error {
	scope, err := parseScope(args)
	if err != nil {
		return err
	}
	t, err := h.tools(ctx)
	if err != nil {
		return err
	}
	line := time.Now().UTC().Format(time.RFC3339) + " by " + t.hand.Who
	if h.reason != "" {
		line += ": " + h.reason
	}
	if err := t.ledger.Pause(ctx, scope, line); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s is paused. To go on: %s\n", scope, strings.TrimSpace(h.program+" resume "+strings.Join(args, "")))
	return err
}

func (h *hands) resume(ctx context.Context, out io.Writer, args []string) error {
	scope, err := parseScope(args)
	if err != nil {
		return err
	}
	t, err := h.tools(ctx)
	if err != nil {
		return err
	}
	ended, err := t.ledger.Resume(ctx, scope)
	if err != nil {
		return err
	}
	text := "was not paused"
	if ended {
		text = "is not paused any more"
	}
	_, err = fmt.Fprintf(out, "%s %s.\n", scope, text)
	return err
}

// withHint adds what to do about errors that people meet often.
func withHint(err error) error {
	if errors.Is(err, rollback.ErrUnknownRelease) {
		return fmt.Errorf("%w; look with: helm list -A", err)
	}
	return err
}
