package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/rollback/notify"
	"github.com/upcommerce/backout/rollback/prom"
)

// config is backout's whole configuration. A test writes the table of
// docs/configuration.md from these structs.
type config struct {
	Policy     rollback.Policy
	Helm       HelmConfig
	Prometheus prom.Config
	Grafana    prom.GrafanaConfig
	HTTP       handler.Config
	Notify     notify.Config
	Lease      ledger.LeaseConfig
	Log        logConfig
	Namespace  string `env:"NAMESPACE" desc:"backout's own namespace, with its Lease and the ConfigMap that pauses everything; by default that of the pod or of the kubeconfig."`
	RecordKeys string `env:"RECORD_KEYS, default=backout-record-keys" desc:"Secret in backout's own namespace with the keys that sign records; its entry current signs, and all are accepted. backout makes it if it does not exist. The chart names it."`
	// TargetAccounts has a service account by the namespace of a target.
	TargetAccounts map[string]string `env:"TARGET_ACCOUNTS" desc:"Service accounts in backout's own namespace, as NAMESPACE:ACCOUNT, separated by commas: backout works in the namespace as that account, which has rights there only. One for each namespace of BACKOUT_RELEASES. Empty: backout works as itself everywhere. The chart makes and names them."`
	Grace          time.Duration     `env:"GRACE, default=25s" desc:"How long backout may take to finish its current work after SIGTERM; keep it below the pod's terminationGracePeriodSeconds."`
}

// HelmConfig says where Helm stores the releases.
type HelmConfig struct {
	Drivers []string `env:"HELM_DRIVER, default=secret" desc:"Where Helm stores the releases, as in Helm's HELM_DRIVER: secret, configmap, or both, separated by a comma. A release in both is an error, and its alerts are not stored. configmap believes every client that may write ConfigMaps in the namespace as much as one that may write Secrets."`
}

// Storages returns the storages, Secrets if the variable is empty. Its error names the
// variable.
func (c HelmConfig) Storages() ([]rollback.Storage, error) {
	if len(c.Drivers) == 0 {
		return []rollback.Storage{rollback.Secrets}, nil
	}
	all, err := rollback.ParseStorages(c.Drivers)
	if err != nil {
		return nil, fmt.Errorf("%sHELM_DRIVER=%w", Prefix, err)
	}
	return all, nil
}

type logConfig struct {
	Level  slog.Level `env:"LOG_LEVEL, default=info" desc:"debug, info, warn or error."`
	Format string     `env:"LOG_FORMAT, default=json" desc:"json or text."`
}

// loadConfig reads and validates the environment. Its error lists every variable that
// cannot be parsed or, if all can, every mistake.
func loadConfig(ctx context.Context, env envconfig.Lookuper) (config, error) {
	var c config
	if _, err := ReadVariables(ctx, env, &c); err != nil {
		// Validate would report the variables that could not be read as zero.
		return c, err
	}
	return c, errors.Join(checkGone(env), c.validate())
}

// checkGone returns an error for each variable that backout no longer reads and that would
// otherwise be ignored in silence.
func checkGone(env envconfig.Lookuper) error {
	if file, set := env.Lookup(Prefix + "TOKEN_FILE"); set {
		return fmt.Errorf("%sTOKEN_FILE is gone: a token names its namespaces; set %sTOKENS=*:%s for all namespaces, or NAMESPACE:FILE for each",
			Prefix, Prefix, file)
	}
	return nil
}

func (c config) validate() error {
	var errs []error
	if c.Grace <= 0 {
		errs = append(errs, fmt.Errorf("%sGRACE=%s: want a duration above zero, such as 25s", Prefix, c.Grace))
	}
	if c.Log.Format != "json" && c.Log.Format != "text" {
		errs = append(errs, fmt.Errorf("%sLOG_FORMAT=%q: want json or text", Prefix, c.Log.Format))
	}
	if len(c.Policy.Releases) > 0 {
		errs = append(errs, accounts{names: c.TargetAccounts}.validate(c.Policy.Namespaces()))
	}
	if _, err := c.Helm.Storages(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, c.Policy.Validate(), c.Prometheus.Validate(), c.Grafana.Validate(), c.confirmations(), c.HTTP.Validate(), c.Notify.Validate(), c.Lease.Validate())...)
}

// confirmations returns an error if a token is confirmed by servers that are not configured.
func (c config) confirmations() error {
	var errs []error
	for _, e := range []struct {
		by      rollback.ConfirmBy
		servers []string
	}{
		{rollback.ConfirmByPrometheus, c.Prometheus.URLs},
		{rollback.ConfirmByGrafana, c.Grafana.URLs},
	} {
		if c.HTTP.Tokens.ConfirmedBy(e.by) && len(e.servers) == 0 {
			errs = append(errs, fmt.Errorf("%sTOKENS: a token is confirmed by %s, which needs %s%s_URLS", Prefix, e.by, Prefix, strings.ToUpper(string(e.by))))
		}
	}
	return errors.Join(errs...)
}
