package stage

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Order runs one of backout's commands for people as the cluster's admin and
// returns what it printed.
func (s *Stage) Order(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.programs.backout, args...)
	cmd.Env = []string{"KUBECONFIG=" + s.Sandbox.Kubeconfig(), "HOME=" + s.Sandbox.Dir()}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("backout %s: %w\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), nil
}
