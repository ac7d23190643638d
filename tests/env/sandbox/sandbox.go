// Package sandbox opens a real Kubernetes control plane in namespaces of its own: etcd, an API server and controllers in one
// program, without root, Docker or downloads other than Go modules. Pods run as processes, with local executables as images, and
// reach Services by their ClusterIPs. Other programs can run inside, too, and the host can reach addresses inside. When the process
// that opened a sandbox ends, for whatever reason, everything inside ends with it. docs/sandbox.md says which parts of Kubernetes
// there are.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox/control"
	"github.com/upcommerce/backout/tests/env/sandbox/kept"
)

// Options configure a sandbox. The zero value is valid.
type Options struct {
	// Log receives the control plane's log; nil: a file in the sandbox's directory.
	Log io.Writer
	// Progress is called at the start of each stage that takes time; nil: silent.
	Progress func(string)
	// Images maps each image repository that pods may use, with any tag, to the absolute path of a local executable.
	Images map[string]string
	// Unpullable are images, with their tags, that cannot be pulled although Images has their repository.
	Unpullable []string
	// Program is the path of a built sandbox program, such as cmd/sandbox itself; "": Open builds it.
	Program string
	// Kept is the place whose sandbox Take takes. Open ignores it; Start has that of kept.Environment by default.
	Kept kept.Place
}

// startLimit bounds the time from the start of the program to a ready control plane. It takes 5 seconds on an idle machine;
// the rest is for machines that compile other programs at the same time.
const startLimit = 2 * time.Minute

// closeLimit is how long Close waits for the program inside to end by itself.
const closeLimit = 5 * time.Second

// dialLimit bounds one connection through a forward.
const dialLimit = 10 * time.Second

// Sandbox is an open sandbox. Its methods may be used concurrently; Close ends them all.
type Sandbox struct {
	layout      Layout
	credentials credentials
	control     control.Client
	inner       *inner       // of Open
	lease       *kept.Lease  // of Take
	end         func() error // remove of Open, giveBack of Take
	apiServer   string       // its address on the host
	forwards    forwards

	progress func(string)

	mu       sync.Mutex
	children []*Child

	closing sync.Once
	closed  error
}

// Open builds missing programs, starts a sandbox and returns when the API server is ready, the default service account exists,
// the controllers run and the node accepts pods. ctx bounds only the opening. If the machine does not permit namespaces, the
// error wraps ErrNamespaces and says what to do.
func Open(ctx context.Context, o Options) (*Sandbox, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if err := programs.CheckReadyMade(ctx); err != nil {
		return nil, err
	}
	if o.Program == "" {
		program, err := programs.Build(ctx, programs.Sandbox(), o.Progress)
		if err != nil {
			return nil, err
		}
		o.Program = program
	}
	keys, err := newCredentials()
	if err != nil {
		return nil, err
	}
	// As late as possible: until the program inside runs, the directory remains if this process is killed.
	layout, err := newLayout()
	if err != nil {
		return nil, err
	}
	s := &Sandbox{layout: layout, credentials: keys, control: control.Client{Socket: layout.Socket()}, progress: o.Progress}
	s.end = s.remove
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("it was not ready after %s", startLimit))
	defer cancel()
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(s.openError(err), s.Close())
	}
	return s, nil
}

// openError adds the end of the control plane's log, unless the cause is elsewhere.
func (s *Sandbox) openError(err error) error {
	if errors.Is(err, ErrNamespaces) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("open a sandbox: %w", err)
	}
	return fmt.Errorf("open a sandbox: %w%s", err, quoteTail(s.layout.ControlPlaneLog()))
}

// start starts a sandbox. Close cleans up after a failed start.
func (s *Sandbox) start(ctx context.Context, o Options) error {
	settings := o.settings()
	if err := errors.Join(settings.validate(), s.credentials.write(s.layout), settings.write(s.layout)); err != nil {
		return err
	}
	log := o.Log
	if log == nil {
		file, err := os.OpenFile(s.layout.ControlPlaneLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return fmt.Errorf("open the control plane's log: %w", err)
		}
		defer func() { _ = file.Close() }()
		log = file
	}
	var err error
	if s.inner, err = startInner(o.Program, s.layout.Dir, log); err != nil {
		return err
	}
	if err := s.inner.await(ctx, control.StageControllers, o.Progress); err != nil {
		return err
	}
	if s.apiServer, err = s.Forward(ctx, innerAPIServer()); err != nil {
		return err
	}
	if err := s.credentials.writeKubeconfig(s.layout.Kubeconfig(), s.apiServer); err != nil {
		return err
	}
	return s.awaitControllers(ctx)
}

// Close ends everything inside and removes the sandbox's directory. Later calls return what the first returned. Of a sandbox from
// Take it ends the programs of Run, and returns the rest to the keeper.
func (s *Sandbox) Close() error {
	s.closing.Do(func() {
		s.forwards.close()
		s.closed = s.end()
	})
	return s.closed
}

// remove ends everything inside, and removes the directory.
func (s *Sandbox) remove() error {
	if s.inner != nil {
		s.inner.end()
	}
	if err := os.RemoveAll(s.layout.Dir); err != nil {
		return fmt.Errorf("remove the sandbox's directory: %w", err)
	}
	return nil
}

// Done is closed when the control plane has ended, by Close or by itself.
func (s *Sandbox) Done() <-chan struct{} {
	if s.lease != nil {
		return s.lease.Done()
	}
	return s.inner.done
}

// Dir is the sandbox's directory: programs inside see it under the same path, and Close removes it.
func (s *Sandbox) Dir() string { return s.layout.Dir }

// Kubeconfig is the path of the admin's kubeconfig for programs on the host.
func (s *Sandbox) Kubeconfig() string { return s.layout.Kubeconfig() }

// PodLogs has a directory for each pod, NAMESPACE_NAME, with the log of each container, CONTAINER.log.
func (s *Sandbox) PodLogs() string { return s.layout.PodLogs() }

// InnerKubeconfig is the path of the admin's kubeconfig for programs inside.
func (s *Sandbox) InnerKubeconfig() string { return s.layout.InnerKubeconfig() }

// RESTConfig is the admin's client configuration for the host, without a client-side rate limit. The caller may change it.
func (s *Sandbox) RESTConfig() *rest.Config { return s.credentials.restConfig(s.apiServer) }

// Dial connects to a TCP address inside.
func (s *Sandbox) Dial(ctx context.Context, inner string) (net.Conn, error) {
	return s.control.Dial(ctx, inner)
}
