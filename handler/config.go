package handler

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// How senders authenticate at the webhook listener.
const (
	AuthBearer = "bearer"
	AuthNone   = "none"
)

// Config says where and how backout listens. go-envconfig reads its tags under the prefix
// BACKOUT_.
type Config struct {
	Listen       string        `env:"LISTEN, default=:8080" desc:"Address of the webhook listener (POST /api/v1/alerts)."`
	OpsListen    string        `env:"OPS_LISTEN, default=:9090" desc:"Address of the ops listener, which is read-only: status page, records, health, metrics. Keep it behind a NetworkPolicy."`
	Auth         string        `env:"AUTH, default=bearer" desc:"How senders authenticate: bearer, or none (with a client CA, or behind an authenticating proxy)."`
	OpsAuth      string        `env:"OPS_AUTH, default=none" desc:"How readers authenticate at the ops listener, apart from /healthz and /readyz: none, or kubernetes, which asks the API server about the bearer token and whether its user may get the path as a nonResourceURL: /metrics, or /backout and the path. That needs the ClusterRole system:auth-delegator."`
	Tokens       Tokens        `env:"TOKENS" desc:"Bearer tokens, as NAMESPACE:FILE, separated by commas: a token is for alerts about its namespaces alone. Several namespaces may have the same file, and a namespace several files; * is all namespaces. A token has 16 bytes or more. The files are re-read when they change. NAMESPACE:FILE:grafana is the token of a Grafana whose own rules BACKOUT_GRAFANA_URLS confirms; with NAMESPACE:FILE:none, backout acts on every alert with the token without confirming it (docs/install.md#senders)."`
	TLSCertFile  string        `env:"TLS_CERT_FILE" desc:"File with the webhook listener's certificate chain (PEM). Re-read when it changes. Without it, the listener serves plain HTTP."`
	TLSKeyFile   string        `env:"TLS_KEY_FILE" desc:"File with the private key of that certificate (PEM)."`
	ClientCAFile string        `env:"TLS_CLIENT_CA_FILE" desc:"File with the CAs of client certificates (PEM). If set, senders must present such a certificate."`
	ClientNames  []string      `env:"TLS_CLIENT_NAMES" desc:"Names of which a client certificate must have one, as its common name or a subject alternative name, separated by commas. Empty: any name."`
	MaxBody      int64         `env:"MAX_BODY_BYTES, default=1048576" desc:"Largest webhook body, in bytes. Larger ones are answered 413."`
	ReadTimeout  time.Duration `env:"READ_TIMEOUT, default=5s" desc:"Limit on reading one request, and on reading its headers."`
	StoreTimeout time.Duration `env:"STORE_TIMEOUT, default=8s" desc:"Limit on storing the alerts of one request. Keep it below Alertmanager's webhook timeout."`
}

// Validate returns every mistake. Each error names its variable.
func (c Config) Validate() error {
	var errs []error
	switch {
	case c.Auth != AuthBearer && c.Auth != AuthNone:
		errs = append(errs, fmt.Errorf("BACKOUT_AUTH=%q: want bearer or none", c.Auth))
	case c.Auth == AuthBearer && len(c.Tokens) == 0:
		errs = append(errs, errors.New("BACKOUT_TOKENS is not set: every client that can reach the listener could roll releases back; set it to a file with a token for each namespace, as in shop:/etc/backout/token, or set BACKOUT_AUTH=none"))
	case c.Auth == AuthNone && len(c.Tokens) > 0:
		errs = append(errs, errors.New("BACKOUT_AUTH=none contradicts BACKOUT_TOKENS: unset one of them"))
	}
	if c.OpsAuth != OpsAuthNone && c.OpsAuth != OpsAuthKubernetes {
		errs = append(errs, fmt.Errorf("BACKOUT_OPS_AUTH=%q: want none or kubernetes", c.OpsAuth))
	}
	errs = append(errs, c.Tokens.validate())
	if len(c.ClientNames) > 0 && c.ClientCAFile == "" {
		errs = append(errs, errors.New("BACKOUT_TLS_CLIENT_NAMES needs BACKOUT_TLS_CLIENT_CA_FILE: without it, no certificate is verified"))
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		errs = append(errs, errors.New("BACKOUT_TLS_CERT_FILE and BACKOUT_TLS_KEY_FILE belong together: set both or neither"))
	}
	if c.ClientCAFile != "" && c.TLSCertFile == "" {
		errs = append(errs, errors.New("BACKOUT_TLS_CLIENT_CA_FILE needs BACKOUT_TLS_CERT_FILE and BACKOUT_TLS_KEY_FILE: client certificates need TLS"))
	}
	for _, a := range []struct{ name, address string }{{"LISTEN", c.Listen}, {"OPS_LISTEN", c.OpsListen}} {
		if _, _, err := net.SplitHostPort(a.address); err != nil {
			errs = append(errs, fmt.Errorf("BACKOUT_%s=%q: want host:port or :port", a.name, a.address))
		}
	}
	if c.MaxBody < 1 {
		errs = append(errs, fmt.Errorf("BACKOUT_MAX_BODY_BYTES=%d: want a number of bytes above zero", c.MaxBody))
	}
	if c.ReadTimeout <= 0 {
		errs = append(errs, fmt.Errorf("BACKOUT_READ_TIMEOUT=%s: want a duration above zero, such as 5s", c.ReadTimeout))
	}
	if c.StoreTimeout <= 0 {
		errs = append(errs, fmt.Errorf("BACKOUT_STORE_TIMEOUT=%s: want a duration above zero, such as 8s", c.StoreTimeout))
	}
	return errors.Join(errs...)
}

// LogValue shows where backout listens. It contains no secrets.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("listen", c.Listen), slog.String("ops_listen", c.OpsListen), slog.String("auth", c.Auth), slog.String("ops_auth", c.OpsAuth),
		slog.Bool("tls", c.TLSCertFile != ""), slog.Bool("client_certificates", c.ClientCAFile != ""),
		slog.Bool("believes_a_token", c.Tokens.ConfirmedBy(rollback.ConfirmByNone)),
	)
}
