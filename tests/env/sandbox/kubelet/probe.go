package kubelet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/upcommerce/backout/tests/env/sandbox/kubelet/cell"
)

const (
	// eagerness is how long after its start a container is probed more often than its probe's period. A kubelet also probes out
	// of turn then; such failures do not count.
	eagerness   = time.Second
	eagerPeriod = 40 * time.Millisecond
)

// restartReason is why a container has to be restarted.
type restartReason struct {
	message string
	grace   time.Duration
}

// reportUnhealthy reports the reason unless one is reported already.
func reportUnhealthy(unhealthy chan<- restartReason, r restartReason) {
	select {
	case unhealthy <- r:
	default:
	}
}

// watch runs the container's probes while the process lives. The channel yields the reason to restart it.
func (c *container) watch(ctx context.Context, process *cell.Process) chan restartReason {
	unhealthy := make(chan restartReason, 1)
	ctx, cancel := until(ctx, process.Done())
	fails := func(kind string, p *corev1.Probe) func(error) bool {
		return func(err error) bool {
			if err == nil {
				return true
			}
			reportUnhealthy(unhealthy, c.restartReason(kind, p))
			return false
		}
	}
	afterStart := func() {
		if p := c.spec.ReadinessProbe; p != nil {
			go c.probe(ctx, process, p, "Readiness", func(err error) bool {
				c.change(func(s *corev1.ContainerStatus) { s.Ready = err == nil && s.State.Running != nil && ctx.Err() == nil })
				return true
			})
		}
		if p := c.spec.LivenessProbe; p != nil {
			go c.probe(ctx, process, p, "Liveness", fails("liveness", p))
		}
	}
	p := c.spec.StartupProbe
	if p == nil {
		afterStart()
	} else {
		failed := fails("startup", p)
		go c.probe(ctx, process, p, "Startup", func(err error) bool {
			if !failed(err) {
				return false
			}
			c.change(func(s *corev1.ContainerStatus) {
				started := s.State.Running != nil
				s.Started, s.Ready = &started, started && c.spec.ReadinessProbe == nil
			})
			afterStart()
			return false
		})
	}
	context.AfterFunc(ctx, cancel)
	return unhealthy
}

func (c *container) restartReason(kind string, p *corev1.Probe) restartReason {
	s := restartReason{
		message: fmt.Sprintf("Container %s failed %s probe, will be restarted", c.spec.Name, kind),
		grace:   c.pod.grace(),
	}
	if p.TerminationGracePeriodSeconds != nil {
		s.grace = time.Duration(*p.TerminationGracePeriodSeconds) * time.Second
	}
	return s
}

// probe runs a probe repeatedly. It calls report with nil after as many successes as the probe's threshold, and with an error
// after as many failures. It ends when report returns false.
func (c *container) probe(ctx context.Context, process *cell.Process, p *corev1.Probe, kind string, report func(error) bool) {
	if !pause(ctx, time.Duration(p.InitialDelaySeconds)*time.Second) {
		return
	}
	eager := time.Now().Add(eagerness)
	var successes, failures int32
	for ctx.Err() == nil {
		err := c.checkOnce(ctx, process, p)
		if ctx.Err() != nil {
			return
		}
		if err != nil && kind != "Liveness" && failures == 0 && successes == 0 && time.Now().Before(eager) {
			pause(ctx, eagerPeriod)
			continue
		}
		if err == nil {
			successes, failures = successes+1, 0
		} else {
			successes, failures = 0, failures+1
			c.pod.event(corev1.EventTypeWarning, "Unhealthy", kind+" probe failed: "+err.Error())
		}
		if successes >= p.SuccessThreshold || failures >= p.FailureThreshold {
			if !report(err) {
				return
			}
		}
		pause(ctx, time.Duration(p.PeriodSeconds)*time.Second)
	}
}

// checkOnce runs the probe within its time limit.
func (c *container) checkOnce(ctx context.Context, process *cell.Process, p *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p.TimeoutSeconds)*time.Second)
	defer cancel()
	return c.check(ctx, process, p.ProbeHandler)
}

func (c *container) check(ctx context.Context, process *cell.Process, h corev1.ProbeHandler) error {
	switch {
	case h.HTTPGet != nil:
		return c.get(ctx, h.HTTPGet)
	case h.TCPSocket != nil:
		return c.connect(ctx, h.TCPSocket)
	case h.Exec != nil:
		return c.execute(ctx, process, h.Exec.Command)
	default:
		return errors.New("this kubelet supports only httpGet, tcpSocket and exec")
	}
}

func (c *container) get(ctx context.Context, g *corev1.HTTPGetAction) error {
	address, err := c.address(g.Host, g.Port)
	if err != nil {
		return err
	}
	scheme := "http"
	if g.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+g.Path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "kube-probe/1.37")
	for _, h := range g.HTTPHeaders {
		r.Header.Add(h.Name, h.Value)
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			r.Host = h.Value
		}
	}
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as a kubelet does
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode < http.StatusOK || response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", response.StatusCode)
	}
	return nil
}

func (c *container) connect(ctx context.Context, s *corev1.TCPSocketAction) error {
	address, err := c.address(s.Host, s.Port)
	if err != nil {
		return err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// address returns a probe's address: the pod, unless the probe names a host.
func (c *container) address(host string, port intstr.IntOrString) (string, error) {
	if host == "" {
		host = c.pod.network.Address.String()
	}
	if port.Type == intstr.Int {
		return net.JoinHostPort(host, strconv.Itoa(int(port.IntVal))), nil
	}
	for _, p := range c.spec.Ports {
		if p.Name == port.StrVal {
			return net.JoinHostPort(host, strconv.Itoa(int(p.ContainerPort))), nil
		}
	}
	return "", fmt.Errorf("couldn't find port: %s", port.StrVal)
}
