package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/slack-go/slack"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/rollback"
)

// Ledger is where what was told is stored; *ledger.Ledger is one.
type Ledger interface {
	Records(ctx context.Context, k rollback.Key) ([]rollback.Record, error)
	Save(ctx context.Context, r rollback.Record) (rollback.Record, error)
}

// Options are the parts that a Teller works with.
type Options struct {
	Config  Config
	Cluster string
	// StormWindow is how long one summary of a storm stands.
	StormWindow time.Duration
	Ledger      Ledger
	// Client and Manifests are for Kubernetes Events; Instance is the replica's name.
	Client    kubernetes.Interface
	Manifests Manifests
	Instance  string
	// Leads returns nil as long as this process may tell people. Nil means always.
	Leads      func() error
	Registerer prometheus.Registerer
	// Transport is http.DefaultTransport if nil. Alertmanagers have their own unless
	// it is set.
	Transport http.RoundTripper
	// Log is slog.Default if nil.
	Log *slog.Logger
}

// Teller tells people about records. It is a rollback.Reporter. Every replica's
// Teller is handed every record, so that it knows at once what is left to tell when
// its process becomes the leader; only the leader tells.
type Teller struct {
	channels []*channel
	setting  Setting
	ledger   Ledger
	leads    func() error
	window   time.Duration
	metrics  *metrics
	log      *slog.Logger
	// moved has room for one signal: there is a place to note.
	moved chan struct{}

	mu sync.Mutex
	// known has what is left to tell, or to refresh, or to note: maxKnown at most.
	known map[identity]*matter
	// notBefore is when a channel may be used again.
	notBefore map[*channel]time.Time
	// stormed is when a channel last told a storm.
	stormed map[*channel]time.Time
}

var _ rollback.Reporter = (*Teller)(nil)

// New returns a Teller that tells nothing before Run. It returns an error if a
// file of the configuration cannot be used.
func New(o Options) (*Teller, error) {
	if o.Ledger == nil || o.Registerer == nil {
		return nil, errors.New("notify: Ledger and Registerer are required")
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Leads == nil {
		o.Leads = func() error { return nil }
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	channels, err := open(o)
	if err != nil {
		return nil, err
	}
	t := &Teller{
		channels: channels, setting: Setting{Cluster: o.Cluster, Dashboard: o.Config.DashboardURL},
		ledger: o.Ledger, leads: o.Leads, window: o.StormWindow, metrics: newMetrics(o.Registerer, channels), log: o.Log,
		known: make(map[identity]*matter), notBefore: make(map[*channel]time.Time),
		stormed: make(map[*channel]time.Time), moved: make(chan struct{}, 1),
	}
	return t, nil
}

// slackPace is Slack's own limit: one message a second in one channel.
const slackPace = time.Second

// open returns the configured channels. Files with secrets are read once, so that
// one that cannot be used is found at the start.
func open(o Options) ([]*channel, error) {
	c, client := o.Config, newClient(o.Transport)
	var all []*channel
	if c.Events && o.Client != nil {
		events := &kubernetesEvents{client: o.Client, manifests: o.Manifests, instance: o.Instance}
		all = append(all, &channel{name: "events", wants: everything, alone: true, idempotent: true, deliver: events.deliver})
	}
	if c.SlackWebhookFile != "" {
		if _, err := secretURL(c.SlackWebhookFile); err != nil {
			return nil, fmt.Errorf("BACKOUT_SLACK_WEBHOOK_FILE: %w", err)
		}
		hook := &slackWebhook{file: c.SlackWebhookFile, client: client}
		all = append(all, &channel{name: "slack-webhook", wants: outcomes, pace: slackPace, deliver: hook.deliver})
	}
	if c.SlackTokenFile != "" {
		if _, err := secret(c.SlackTokenFile); err != nil {
			return nil, fmt.Errorf("BACKOUT_SLACK_TOKEN_FILE: %w", err)
		}
		bot := &slackBot{file: c.SlackTokenFile, api: strings.TrimRight(cmp.Or(c.SlackAPIURL, slack.APIURL), "/") + "/", channel: c.SlackChannel, client: client}
		all = append(all, &channel{name: "slack-bot", wants: everything, pace: 2 * slackPace, deliver: bot.deliver})
	}
	if c.WebhookURL != "" {
		if c.WebhookSecretFile != "" {
			if _, err := secret(c.WebhookSecretFile); err != nil {
				return nil, fmt.Errorf("BACKOUT_WEBHOOK_SECRET_FILE: %w", err)
			}
		}
		hook := &webhook{url: c.WebhookURL, secret: c.WebhookSecretFile, client: client}
		all = append(all, &channel{name: "webhook", wants: everything, deliver: hook.deliver})
	}
	return openAlertmanagers(o, all)
}

func openAlertmanagers(o Options, all []*channel) ([]*channel, error) {
	if len(o.Config.AlertmanagerURLs) == 0 {
		return all, nil
	}
	transport := o.Transport
	if transport == nil {
		var err error
		if transport, err = newAlertmanagerTransport(o.Config); err != nil {
			return nil, err
		}
	}
	for i, address := range o.Config.AlertmanagerURLs {
		am := &alertmanager{url: address, client: newClient(transport)}
		all = append(all, &channel{name: fmt.Sprintf("alertmanager-%d", i+1), wants: alerting, lasts: lasting, deliver: am.deliver})
	}
	return all, nil
}

// Run tells people until ctx ends: one worker per channel, so that none waits for
// another. What is in delivery then is cut off; the next leader tells it. Run
// returns nil.
func (t *Teller) Run(ctx context.Context) error {
	var working sync.WaitGroup
	for _, c := range t.channels {
		working.Go(func() { t.work(ctx, c) })
	}
	working.Go(func() { t.notes(ctx) })
	working.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	_ = t.saveAll(last) // logged; what is not noted may be told twice
	return nil
}

// work delivers for one channel, one thing at a time.
func (t *Teller) work(ctx context.Context, c *channel) {
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			more = t.deliverNext(ctx, c)
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}
