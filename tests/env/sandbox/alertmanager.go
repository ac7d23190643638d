package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/upcommerce/backout/tests/env/monitoring"
	"github.com/upcommerce/backout/tests/env/programs"
)

// AlertmanagerOptions configure an Alertmanager.
type AlertmanagerOptions struct {
	// Name distinguishes several; "": "alertmanager".
	Name string
	// WebhookURL is the URL, inside, that alerts are posted to; "": none.
	WebhookURL string
	// TokenFile holds the bearer token for the webhook; "": none.
	TokenFile string
	// GroupWait is 0, GroupInterval 1s and RepeatInterval 5m unless set.
	GroupWait, GroupInterval, RepeatInterval time.Duration
	// Config is the absolute path of a configuration file, which replaces all of the above but Name; "": Alertmanager writes one.
	Config string
	// Port is the TCP port inside; 0: 9093.
	Port int
	// GossipPort is the port for its peers; 0: it has no peers.
	GossipPort int
	// Peers are the Alertmanagers that it forms a cluster with: they share which notifications were sent.
	Peers []*Alertmanager
}

// Alertmanager is a real Alertmanager that runs inside.
type Alertmanager struct {
	child  *Child
	inner  string // host:port
	gossip string // host:port, for peers
	url    string
	http   *http.Client
}

// Alert is an alert as Prometheus posts it to Alertmanager. A zero StartsAt is now; with a zero EndsAt the alert is resolved when
// it has not been fired again for five minutes.
type Alert struct {
	Labels       map[string]string
	Annotations  map[string]string
	StartsAt     time.Time
	EndsAt       time.Time
	GeneratorURL string
}

// Alertmanager builds Alertmanager if necessary, runs one inside, and returns when it is ready. It groups alerts as backout's
// rules recommend: each release, revision and alert has a notification of its own.
func (s *Sandbox) Alertmanager(ctx context.Context, o AlertmanagerOptions) (*Alertmanager, error) {
	if o.Name == "" {
		o.Name = "alertmanager"
	}
	if o.Port == 0 {
		o.Port = 9093
	}
	program, err := programs.Build(ctx, programs.Alertmanager(), s.progress)
	if err != nil {
		return nil, err
	}
	s.progress("starting " + o.Name)
	if o.Config == "" {
		o.Config = filepath.Join(s.Dir(), o.Name+".yml")
		if err := o.writeConfig(o.Config); err != nil {
			return nil, err
		}
	}
	address := func(port int) string { return net.JoinHostPort(InnerAddress, strconv.Itoa(port)) }
	a := &Alertmanager{inner: address(o.Port), gossip: address(o.GossipPort), http: &http.Client{Timeout: 10 * time.Second}}
	a.child, err = s.Run(ctx, Process{Name: o.Name, Path: program, Args: o.args(a)})
	if err != nil {
		return nil, err
	}
	host, err := s.Forward(ctx, a.inner)
	if err != nil {
		return nil, err
	}
	a.url = "http://" + host
	return a, a.awaitReady(ctx)
}

// args returns Alertmanager's arguments.
func (o AlertmanagerOptions) args(a *Alertmanager) []string {
	args := []string{"--config.file=" + o.Config, "--storage.path=data", "--web.listen-address=" + a.inner}
	if o.GossipPort == 0 {
		return append(args, "--cluster.listen-address=") // no gossip
	}
	args = append(args, "--cluster.listen-address="+a.gossip, "--cluster.advertise-address="+a.gossip,
		"--cluster.settle-timeout=0s") // it need not wait: peers run already when they are named
	for _, p := range o.Peers {
		args = append(args, "--cluster.peer="+p.gossip)
	}
	return args
}

// writeConfig writes Alertmanager's configuration file.
func (o AlertmanagerOptions) writeConfig(path string) error {
	b, err := monitoring.Alertmanager{
		WebhookURL: o.WebhookURL, TokenFile: o.TokenFile,
		GroupWait: o.GroupWait, GroupInterval: o.GroupInterval, RepeatInterval: o.RepeatInterval,
	}.YAML()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("write the configuration of Alertmanager: %w", err)
	}
	return nil
}

// URL is Alertmanager's address on the host, "http://127.0.0.1:NNNNN".
func (a *Alertmanager) URL() string { return a.url }

// Inner is its address inside.
func (a *Alertmanager) Inner() string { return "http://" + a.inner }

// Child is its process, to freeze it or kill it.
func (a *Alertmanager) Child() *Child { return a.child }

// Fire posts alerts as Prometheus does. It returns when Alertmanager has accepted them, which may be before their notification.
func (a *Alertmanager) Fire(ctx context.Context, alerts ...Alert) error {
	b, err := json.Marshal(wire(alerts))
	if err != nil {
		return fmt.Errorf("encode alerts: %w", err)
	}
	if err := a.do(ctx, http.MethodPost, "/api/v2/alerts", bytes.NewReader(b)); err != nil {
		return fmt.Errorf("fire %d alerts: %w", len(alerts), err)
	}
	return nil
}

// postedAlert is Alertmanager's API v2 form of an Alert, in which an absent time differs from year 1.
type postedAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     time.Time         `json:"startsAt,omitzero"`
	EndsAt       time.Time         `json:"endsAt,omitzero"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

func wire(alerts []Alert) []postedAlert {
	posted := make([]postedAlert, len(alerts))
	for i, a := range alerts {
		posted[i] = postedAlert(a)
	}
	return posted
}

// awaitReady polls /-/ready until it answers 200, or ctx or Alertmanager ends.
func (a *Alertmanager) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := a.do(ctx, http.MethodGet, "/-/ready", nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for Alertmanager: %w (last answer: %w)", context.Cause(ctx), err)
		case <-a.child.Done():
			return fmt.Errorf("wait for Alertmanager: %w%s", a.child.Err(), quoteTail(a.child.Log()))
		case <-tick.C:
		}
	}
}

// do sends a request to Alertmanager. A status other than 200 is an error that contains the body.
func (a *Alertmanager) do(ctx context.Context, method, path string, body io.Reader) error {
	r, err := http.NewRequestWithContext(ctx, method, a.url+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := a.http.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, bytes.TrimSpace(b))
	}
	return nil
}
