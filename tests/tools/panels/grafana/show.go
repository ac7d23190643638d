package grafana

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/upcommerce/backout/dashboards"
)

// Caption is the text below every picture.
const Caption = "Drawn by tests/tools/panels from the dashboard's JSON and the sandbox's Prometheus after the demo; not a picture by Grafana."

// Show runs the queries of every dashboard, prints the content of its panels, and draws it
// into the folder; with "" it draws nothing.
func Show(ctx context.Context, q Request, folder string, out io.Writer) error {
	all, err := dashboards.All()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		q.Dashboard = all[name]
		board, err := Query(ctx, q)
		if err != nil {
			return fmt.Errorf("dashboard %s: %w", name, err)
		}
		fmt.Fprintf(out, "\n%s\n%s", q.Dashboard.Title, board.Table())
		if folder == "" {
			continue
		}
		if err := os.MkdirAll(folder, 0o750); err != nil {
			return err
		}
		if err := picture(ctx, board.Draw(Caption), filepath.Join(folder, "dashboard-"+name)); err != nil {
			return err
		}
	}
	return nil
}

// picture writes an SVG, and makes a PNG of it with Chromium.
func picture(ctx context.Context, svg []byte, path string) error {
	if err := os.WriteFile(path+".svg", svg, 0o600); err != nil {
		return err
	}
	browser, err := exec.LookPath("chromium")
	if err != nil {
		return fmt.Errorf("make a picture: %w; apt-get install chromium", err)
	}
	profile, err := os.MkdirTemp("", "panels-chromium-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(profile) }()
	w, h := size(svg)
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir="+profile,
		"--window-size="+strconv.Itoa(w)+","+strconv.Itoa(h), "--screenshot="+path+".png", "file://"+path+".svg")
	var output bytes.Buffer
	cmd.Stderr = &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("make a picture of %s.svg: %w\n%s", path, err, output.String())
	}
	return nil
}

// size returns the size of an SVG.
func size(svg []byte) (w, h int) {
	at := bytes.Index(svg, []byte("width="))
	_, _ = fmt.Sscanf(string(svg[max(at, 0):]), `width="%d" height="%d"`, &w, &h)
	return w, h
}
