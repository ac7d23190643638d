package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/upcommerce/backout/tests/env/stage"
	"github.com/upcommerce/backout/tests/tools/panels/grafana"
)

// picture is a picture of the status page.
type picture struct {
	name, path, size string
	// scheme is the preferred colour scheme, as Chromium's number.
	scheme string
}

// Chromium's numbers for prefers-color-scheme.
const (
	dark  = "0"
	light = "1"
)

// pictures are the pages at two sizes, light and dark.
func pictures() []picture {
	record := fmt.Sprintf("/records/%s/%s/%d", stage.Namespace, stage.Release, badRevision)
	return []picture{
		{"status-page", "/", "1180,760", light},
		{"status-page-dark", "/", "1180,760", dark},
		{"status-page-small", "/", "500,1300", light},
		{"status-page-small-dark", "/", "500,1300", dark},
		{"record-page", record, "1180,1500", light},
		{"record-page-dark", record, "1180,1500", dark},
		{"record-page-small", record, "500,2400", light},
		{"record-page-small-dark", record, "500,2400", dark},
	}
}

// screenshots takes pictures of the status page after the story with Chromium, and writes
// them to the folder, with the records and releases as JSON.
func (g *sandboxGround) screenshots(ctx context.Context, folder string) error {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		return fmt.Errorf("take screenshots: %w; apt-get install chromium", err)
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	for _, path := range []string{"/api/v1/records", "/api/v1/releases"} {
		code, text, err := g.backout.Get(ctx, path)
		if err != nil || code != http.StatusOK {
			return fmt.Errorf("read %s: %d: %w", path, code, errors.Join(err, errors.New(text)))
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(path)+".json"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	for _, p := range pictures() {
		g.bar.Begin("taking a picture: " + p.name)
		if err := g.shoot(ctx, browser, filepath.Join(folder, p.name+".png"), p); err != nil {
			return err
		}
	}
	g.bar.End()
	return nil
}

// dashboards prints the content of the dashboards' panels after the story, and draws them.
func (g *sandboxGround) dashboards(ctx context.Context, folder string) error {
	client, err := api.NewClient(api.Config{Address: g.prometheus.URL()})
	if err != nil {
		return err
	}
	return grafana.Show(ctx, grafana.Request{
		Prometheus: promv1.NewAPI(client), Start: g.began, End: time.Now(), Scrape: time.Second,
	}, folder, g.out)
}

func (g *sandboxGround) shoot(ctx context.Context, browser, file string, p picture) error {
	profile, err := os.MkdirTemp("", "demo-chromium-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(profile) }()
	cmd := exec.CommandContext(ctx, browser,
		"--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir="+profile,
		"--blink-settings=preferredColorScheme="+p.scheme, "--window-size="+p.size, "--timeout=3000",
		"--screenshot="+file, g.backout.OpsURL()+p.path)
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("take the picture %s: %w\n%s", p.name, err, out.String())
	}
	return nil
}
