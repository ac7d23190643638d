package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
)

// alertFlags describe the alert of a plan.
type alertFlags struct {
	name, level, version string
	revision             int
	firing               time.Duration
}

func (f *alertFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "alert", "", "the alert's name; Prometheus (BACKOUT_PROMETHEUS_URLS) is then asked whether it fires")
	c.Flags().StringVar(&f.level, "level", string(rollback.LevelRollback), "the alert's level: rollback, shed or observe")
	c.Flags().StringVar(&f.version, "version", "", "the alert's version label")
	c.Flags().IntVar(&f.revision, "revision", 0, "the alert's revision label")
	c.Flags().DurationVar(&f.firing, "firing-for", 0, "how long the alert has been firing")
}

// alerts returns the alerts of the file, or the one that the flags describe.
func (p *plan) alerts(in io.Reader, args []string) ([]rollback.Alert, error) {
	switch {
	case p.file == "" && len(args) == 0:
		return nil, errors.New("want NAMESPACE/RELEASE, or -f with a payload of Alertmanager")
	case p.file != "" && len(args) > 0:
		return nil, errors.New("the alerts of -f name their releases: drop NAMESPACE/RELEASE")
	case p.file == "":
		k, err := parseKey(args[0])
		return []rollback.Alert{p.alert.alert(k)}, err
	}
	if p.file != "-" {
		file, err := os.Open(p.file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	alerts, _, err := handler.Decode(in)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; want the JSON that Alertmanager or Grafana posts to a webhook", p.file, err)
	}
	return alerts, nil
}

// alert is the alert that the flags describe.
func (f *alertFlags) alert(k rollback.Key) rollback.Alert {
	labels := map[string]string{
		"alertname": cmp.Or(f.name, "plan"), "namespace": k.Namespace, "release": k.Release, "backout": f.level,
	}
	if f.version != "" {
		labels["version"] = f.version
	}
	if f.revision != 0 {
		labels["revision"] = strconv.Itoa(f.revision)
	}
	return rollback.Alert{Labels: labels, Fingerprint: "plan", StartsAt: time.Now().Add(-f.firing)}
}
