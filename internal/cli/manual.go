package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/internal/serve"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/helm"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/traffic"
)

// manual has the parts of the commands that change something. They work under the
// operator's own Kubernetes rights.
type manual struct {
	engine.Manual

	ledger *ledger.Ledger
	track  rollback.Track
}

// newManual returns the parts of a command, which finds the canary by the track label; "" is
// the default one.
func newManual(ctx context.Context, a serve.Access, trackLabel string) (manual, error) {
	storages, err := rollback.ParseStorages(a.HelmDrivers)
	if err != nil {
		return manual{}, fmt.Errorf("--helm-driver %w", err)
	}
	var track rollback.Track
	if err := track.EnvDecode(trackLabel); err != nil {
		return manual{}, fmt.Errorf("--%s: %w", trackFlag, err)
	}
	in, client, err := connect(a)
	if err != nil {
		return manual{}, err
	}
	releases, err := helm.New(helm.Options{Config: in.Config, Storages: storages, Track: track, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return manual{}, err
	}
	router, err := traffic.New(traffic.Options{Config: in.Config, Track: track})
	if err != nil {
		return manual{}, err
	}
	operator, err := whoAmI(ctx, client)
	if err != nil {
		return manual{}, err
	}
	records := ledger.New(ledger.Options{Client: client, Own: in.Namespace, Summary: report.Summary})
	return manual{
		Manual: engine.Manual{Releases: releases, Traffic: router, Ledger: records, Operator: operator}, track: track,
		ledger: records,
	}, nil
}

// whoAmI returns the operator's name, as `kubectl auth whoami` does.
func whoAmI(ctx context.Context, client kubernetes.Interface) (string, error) {
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("ask the API server who you are: %w", err)
	}
	return review.Status.UserInfo.Username, nil
}

// printWeights prints each change of a weight on a line.
func printWeights(out io.Writer, weights []rollback.Weight) {
	for _, w := range weights {
		fmt.Fprintln(out, w)
	}
}

// hintRelease adds a command that helps to the error about a release that does not exist.
func hintRelease(err error) error {
	if errors.Is(err, rollback.ErrUnknownRelease) {
		return fmt.Errorf("%w; list the releases with: %s", err, rollback.HelmListCommand())
	}
	return err
}
