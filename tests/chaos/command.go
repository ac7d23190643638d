package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/tests/env/stage"
)

// operator is the user who runs the command.
const operator = "ann"

// Command is `backout rollback`, which an operator runs with the rights of a namespace's
// admin. It reaches the API server through a proxy of its own, which numbers its writes alone.
type Command struct {
	proxy        *Proxy
	program, log string
	release      string // namespace/name
	env          []string

	mu      sync.Mutex
	process *os.Process
	gone    chan struct{} // closed when process has ended
}

// setUpCommand makes the operator, and the command with its proxy and kubeconfig.
func (r *Run) setUpCommand(ctx context.Context) error {
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: operator},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: operator}},
	}
	if _, err := r.stage.Client.RbacV1().RoleBindings(r.shop.Namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the operator: %w", err)
	}
	config := r.stage.Sandbox.RESTConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: operator}
	proxy, err := NewProxy(config)
	if err != nil {
		return err
	}
	link, err := proxy.Link(ctx, 0)
	if err != nil {
		return err
	}
	kubeconfig := filepath.Join(r.dir, "kubeconfig-"+operator)
	if err := os.WriteFile(kubeconfig, []byte(kubeconfigFor(link.URL())), 0o600); err != nil {
		return fmt.Errorf("write the operator's kubeconfig: %w", err)
	}
	r.command = &Command{
		proxy: proxy, program: r.program(), log: filepath.Join(r.dir, "command.log"),
		release: r.shop.Namespace + "/" + stage.Release, env: []string{"KUBECONFIG=" + kubeconfig, "HOME=" + r.dir},
	}
	return nil
}

// run runs the command to its end, and returns what it has printed.
func (c *Command) run(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, c.program, "rollback", c.release)
	var out bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	gone := make(chan struct{})
	if err := c.start(cmd, gone); err != nil {
		return "", err
	}
	begun, err := time.Now(), cmd.Wait()
	close(gone)
	log, openErr := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if openErr != nil {
		return out.String(), fmt.Errorf("open the command's log: %w", openErr)
	}
	defer func() { _ = log.Close() }()
	_, _ = fmt.Fprintf(log, "---- %s to %s: %v\n%s", begun.Format(time.RFC3339Nano), time.Now().Format(time.RFC3339Nano), err, out.String())
	return out.String(), err
}

func (c *Command) start(cmd *exec.Cmd, gone chan struct{}) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start backout rollback: %w", err)
	}
	c.process, c.gone = cmd.Process, gone
	return nil
}

// signal sends a signal to the process that runs now.
func (c *Command) signal(s syscall.Signal) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.process.Signal(s) // a process that has ended needs none
	return c.gone
}

// breakNext runs the fault at that moment of the writes of the next run.
func (c *Command) breakNext(m Moment, f Fault) {
	m.Write += len(c.proxy.Writes())
	c.proxy.Break(m, f)
}
