package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// patience bounds each operation of containerd. All together take seconds.
const patience = time.Minute

// TestContainerd loads the archives of `make images` into containerd as kind and minikube do, and runs them there. It needs root, and skips if something
// is missing, unless CONTAINERD=required, as in .ci/run.
func TestContainerd(t *testing.T) {
	needContainerd(t)
	for _, way := range []struct {
		name string
		load func(t *testing.T, c containerd, archive string)
	}{
		{"kind load image-archive", kind},
		{"minikube image load", minikube},
	} {
		t.Run(way.name, func(t *testing.T) {
			c := startContainerd(t)
			for _, program := range []string{"backout", "storefront"} {
				way.load(t, c, filepath.Join(built(t), program+".tar"))
			}
			if t.Failed() {
				t.FailNow()
			}
			checkNames(t, c)
			checkBackout(t, c)
			checkStorefront(t, c)
		})
	}
}

// kind loads the archive as kind does, through ctr's standard input: pkg/cluster/nodeutils/util.go of its sources.
func kind(t *testing.T, c containerd, archive string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	t.Log(c.ctr(t, f, "images", "import", "--all-platforms", "--digests", "--snapshotter=native", "-"))
}

// minikube loads the archive as minikube does, from a file on the node: pkg/minikube/cruntime/containerd.go of its sources.
func minikube(t *testing.T, c containerd, archive string) {
	t.Helper()
	t.Log(c.ctr(t, nil, "images", "import", "--snapshotter=native", archive))
}

// checkNames checks that containerd's CRI plugin, which the kubelet uses, has the images with their full names: it labels the images that it has seen.
func checkNames(t *testing.T, c containerd) {
	t.Helper()
	for _, program := range []string{"backout", "storefront"} {
		for _, ref := range spec(t, program).Refs {
			await(t, "the CRI plugin of containerd has not seen "+ref.String(), func() bool {
				return strings.Contains(c.ctr(t, nil, "images", "ls", "name=="+ref.String()), "io.cri-containerd.image=managed")
			})
			text := c.ctr(t, nil, "images", "check", "--snapshotter=native", "name=="+ref.String())
			if !strings.Contains(text, "complete") || !strings.Contains(text, "true") {
				t.Errorf("%s is not complete or not unpacked:\n%s", ref, text)
			}
		}
	}
}

// checkBackout runs backout in a container like the chart's: read-only and without rights.
func checkBackout(t *testing.T, c containerd) {
	t.Helper()
	ref := spec(t, "backout").Refs[0].String()
	text := c.ctr(t, nil, "run", "--rm", "--snapshotter=native", "--read-only", "--cgroup=backout-images-rules", ref, "rules", "/backout", "rules")
	if !strings.Contains(text, "alert: Canary") {
		t.Errorf("`backout rules` prints no alert rules:\n%s", text)
	}
	config := imageOf(t, "backout")
	want, err := config.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	var got v1.ConfigFile
	if err := json.Unmarshal([]byte(c.ctr(t, nil, "content", "get", want.String())), &got); err != nil {
		t.Fatalf("read the configuration that containerd has: %v", err)
	}
	if got.Config.User != "65532:65532" || fmt.Sprint(got.Config.Entrypoint) != "[/backout]" {
		t.Errorf("containerd would start %q as user %q, want /backout as 65532:65532", got.Config.Entrypoint, got.Config.User)
	}
}

// checkStorefront starts the storefront with only the settings of the image and the chart: entrypoint, user and port are the image's.
func checkStorefront(t *testing.T, c containerd) {
	t.Helper()
	ref := spec(t, "storefront").Refs[1].String()
	c.ctr(t, nil, "run", "--detach", "--null-io", "--snapshotter=native", "--read-only", "--cgroup=backout-images-shop", "--env=VERSION=v2", ref, "shop")
	inside := c.process(t, "shop")
	client := http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dialIn(filepath.Join(inside, "ns/net"))}}
	var page string
	await(t, "nothing listens on port 5000 of the storefront's container", func() bool {
		var err error
		page, err = get(t, client, "/")
		return err == nil
	})
	if !strings.Contains(page, "Hello from version v2") {
		t.Errorf("the page does not contain the version:\n%s", page)
	}
	if _, err := get(t, client, "/readyz"); err != nil {
		t.Errorf("the probe of values-storefront.yaml fails: %v", err)
	}
	status := string(contents(t, filepath.Join(inside, "status")))
	if !strings.Contains(status, "Uid:\t65532\t65532\t65532\t65532\n") || !strings.Contains(status, "Gid:\t65532\t65532\t65532\t65532\n") {
		t.Errorf("the storefront does not run as 65532:65532:\n%s", status)
	}
	c.ctr(t, nil, "tasks", "kill", "--signal=SIGKILL", "shop")
	await(t, "the storefront outlives SIGKILL", func() bool { return strings.Contains(c.ctr(t, nil, "tasks", "ls"), "STOPPED") })
	c.ctr(t, nil, "containers", "rm", "shop")
}

func get(t *testing.T, client http.Client, path string) (string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:5000"+path, nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, answer.Status)
	}
	return string(text), err
}

// dialIn dials from the network namespace in the file path.
func dialIn(path string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		type result struct {
			conn net.Conn
			err  error
		}
		done := make(chan result)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, because it stays in the namespace
			ns, err := os.Open(path)
			if err != nil {
				done <- result{err: err}
				return
			}
			defer func() { _ = ns.Close() }()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				done <- result{err: fmt.Errorf("enter the container's network: %w", err)}
				return
			}
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			done <- result{conn, err}
		}()
		r := <-done
		return r.conn, r.err
	}
}

// containerd is a containerd in namespaces of its own, with all files in a directory of the test.
type containerd struct {
	socket string
	pid    int
}

// needContainerd ends the test if it cannot run, and says what to do about it.
func needContainerd(t *testing.T) {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CONTAINERD") == "required" {
		missing = t.Fatalf
	}
	for _, program := range []string{"containerd", "ctr", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			missing("%v: run `apt-get install --no-install-recommends containerd`; its daemon need not run", err)
		}
	}
	if os.Geteuid() != 0 {
		missing("containerd mounts file systems, which needs root: sudo env PATH=$PATH go test -run TestContainerd -v .")
	}
}

// startContainerd starts a containerd as process 1 of a PID namespace, so that containers and mounts end with it.
func startContainerd(t *testing.T) containerd {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf(`version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "%[1]s/sock"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
  conf_dir = "%[1]s/cni"
`, dir)
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	daemon := exec.Command("sh", "-ec", `mount --make-rprivate / && mount -t proc proc /proc && exec containerd --config "$0"`, path)
	daemon.Stdout, daemon.Stderr = &log, &log
	daemon.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if err := daemon.Start(); err != nil {
		t.Fatalf("start containerd: %v", err)
	}
	ended := make(chan struct{})
	go func() { _ = daemon.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("containerd's log:\n%s", log.String())
		}
	})
	c := containerd{socket: filepath.Join(dir, "sock"), pid: daemon.Process.Pid}
	await(t, "containerd does not answer", func() bool {
		select {
		case <-ended:
			t.Fatal("containerd ended")
		default:
		}
		return exec.Command("ctr", "--address", c.socket, "version").Run() == nil
	})
	return c
}

// ctr runs ctr in the kubelet's namespace and returns its output. It ends the test if ctr fails.
func (c containerd) ctr(t *testing.T, in io.Reader, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ctr", append([]string{"--address", c.socket, "--namespace", "k8s.io"}, args...)...)
	cmd.Stdin = in
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// process returns the /proc directory of a container's first process.
func (c containerd) process(t *testing.T, container string) string {
	t.Helper()
	for line := range strings.Lines(c.ctr(t, nil, "tasks", "ls")) {
		if words := strings.Fields(line); words[0] == container {
			return fmt.Sprintf("/proc/%d/root/proc/%s", c.pid, words[1])
		}
	}
	t.Fatalf("containerd has no process for %s", container)
	return ""
}

func await(t *testing.T, otherwise string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatal(otherwise)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
