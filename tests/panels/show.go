package panels

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

// Caption stands under every picture.
const Caption = "Drawn by tests/cmd/panels from the dashboard's own JSON and the sandbox's Prometheus after the demo's story; not Grafana's own picture."

// Show asks for every dashboard, prints what its panels show, and draws it into the
// folder, "" for no pictures.
func Show(ctx context.Context, q Question, folder string, out io.Writer) error {
	all, err := dashboards.All()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		q.Dashboard = all[name]
		board, err := Ask(ctx, q)
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

// picture writes an SVG, and has Chromium make a PNG of it.
func picture(ctx context.Context, svg []byte, path string) error {
	if err := os.WriteFile(path+".svg", svg, 0o600); err != nil {
		return err
	}
	browser, err := exec.LookPath("chromium")
	if err != nil {
		return fmt.Errorf("make a picture: %w; install it: on Debian the package is called chromium", err)
	}
	profile, err := os.MkdirTemp("", "panels-chromium-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(profile) }()
	w, h := size(svg)
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir="+profile,
		"--window-size="+strconv.Itoa(w)+","+strconv.Itoa(h), "--screenshot="+path+".png", "file://"+path+".svg")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("make a picture of %s.svg: %w\n%s", path, err, complaints.String())
	}
	return nil
}

// size reads the size off an SVG.
func size(svg []byte) (w, h int) {
	at := bytes.Index(svg, []byte("width="))
	_, _ = fmt.Sscanf(string(svg[max(at, 0):]), `width="%d" height="%d"`, &w, &h)
	return w, h
}
