package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/component-base/version"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// hold is the command sandbox hold.
type hold struct {
	kubeconfig   string
	alertmanager bool
	webhook      string
	limit        time.Duration
	images       map[string]string // local executables by repository
}

func (h *hold) addFlags(f *flag.FlagSet) {
	f.StringVar(&h.kubeconfig, "kubeconfig", "", "link the kubeconfig at this `file` while the sandbox is open")
	f.BoolVar(&h.alertmanager, "alertmanager", false, "run an Alertmanager inside, too")
	f.StringVar(&h.webhook, "webhook", "", "`URL` inside the sandbox that Alertmanager posts alerts to")
	f.Func("image", "run pods of an image repository, with any tag, as a local executable: `REPO=PATH`; may be repeated", h.addImage)
	f.DurationVar(&h.limit, "for", 0, "end by itself after this time; 0 means never")
}

// addImage takes REPO=PATH.
func (h *hold) addImage(value string) error {
	repository, program, ok := strings.Cut(value, "=")
	if !ok || repository == "" {
		return errors.New("want REPO=PATH, as in example/shop=./shop")
	}
	program, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	if h.images == nil {
		h.images = map[string]string{}
	}
	h.images[repository] = program
	return nil
}

// run opens a sandbox and closes it when ctx ends, the time is up or the control plane has ended.
func (h *hold) run(ctx context.Context, out, errOut io.Writer) (err error) {
	if h.webhook != "" {
		h.alertmanager = true
	}
	if err := checkLink(h.kubeconfig); err != nil {
		return err
	}
	bar := progress.New(errOut)
	defer bar.End()
	s, err := sandbox.Open(ctx, sandbox.Options{Program: ownProgram(), Progress: bar.Begin, Images: h.images})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var alertmanager string
	if h.alertmanager {
		a, err := s.Alertmanager(ctx, sandbox.AlertmanagerOptions{WebhookURL: h.webhook})
		if err != nil {
			return err
		}
		alertmanager = a.URL()
	}
	kubeconfig, unlink, err := link(s.Kubeconfig(), h.kubeconfig)
	if err != nil {
		return err
	}
	defer unlink()
	bar.End()
	router, err := s.RouterURL(ctx)
	if err != nil {
		return err
	}
	h.welcome(out, s, kubeconfig, router)
	if alertmanager != "" {
		fmt.Fprintf(out, "Alertmanager is at %s\n", alertmanager)
	}

	var up <-chan time.Time
	if h.limit > 0 {
		up = time.After(h.limit)
	}
	select {
	case <-ctx.Done():
	case <-up:
	case <-s.Done():
		return errors.New("the control plane has ended by itself")
	}
	fmt.Fprintln(errOut, "closing the sandbox")
	return nil
}

func (h *hold) welcome(out io.Writer, s *sandbox.Sandbox, kubeconfig, router string) {
	fmt.Fprintf(out, `
Kubernetes %s is ready. To use it, paste into another terminal:

  export KUBECONFIG=%s
  kubectl get namespaces
  helm list --all-namespaces

%s
Their logs are in %s/NAMESPACE_POD, because kubectl logs and exec do not work. Everything else is in
%s
`, programs.Kubernetes, kubeconfig, h.podsText(), s.PodLogs(), s.Dir())
	fmt.Fprintf(out, "Ingresses are served at %s, by their host.\n", router)
	if h.limit > 0 {
		fmt.Fprintf(out, "It ends after %s, or with Ctrl-C.\n", h.limit)
		return
	}
	fmt.Fprintln(out, "It ends with Ctrl-C.")
}

// podsText says which pods run.
func (h *hold) podsText() string {
	if len(h.images) == 0 {
		return "Pods are processes of this machine. Without -image REPO=PATH no image can be pulled (ErrImagePull)."
	}
	lines := []string{"Pods are processes of this machine. They can use these images, with any tag:"}
	for _, repository := range slices.Sorted(maps.Keys(h.images)) {
		lines = append(lines, "  "+repository+"  ("+h.images[repository]+")")
	}
	return strings.Join(lines, "\n")
}

// ownProgram returns the path of this executable if it was built with the version that the control plane announces and its own API
// server is used, else "".
func ownProgram() string {
	if version.Get().GitVersion != programs.Kubernetes || programs.ReadyMadeAPIServer() != "" {
		return ""
	}
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	return self
}

// checkLink returns an error if the path exists and is not a symbolic link.
func checkLink(at string) error {
	info, err := os.Lstat(at)
	if err != nil || info.Mode().Type() == fs.ModeSymlink {
		return nil
	}
	return fmt.Errorf("link the kubeconfig: %s exists and is not a link of an earlier sandbox; choose another file", at)
}

// link makes a symbolic link to the kubeconfig at a path that stays the same from sandbox to sandbox. It replaces an earlier
// link, but no file.
func link(kubeconfig, at string) (path string, unlink func(), err error) {
	if at == "" {
		return kubeconfig, func() {}, nil
	}
	if at, err = filepath.Abs(at); err != nil {
		return "", nil, fmt.Errorf("link the kubeconfig: %w", err)
	}
	if err := checkLink(at); err != nil {
		return "", nil, err
	}
	// A link of a sandbox that was killed is still there.
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("replace the link of an earlier sandbox: %w", err)
	}
	if err := os.Symlink(kubeconfig, at); err != nil {
		return "", nil, fmt.Errorf("link the kubeconfig: %w", err)
	}
	return at, func() {
		// Another sandbox may have replaced the link.
		if target, err := os.Readlink(at); err == nil && target == kubeconfig {
			_ = os.Remove(at)
		}
	}, nil
}
