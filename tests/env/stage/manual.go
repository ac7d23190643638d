package stage

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Command runs one of backout's commands, such as hold or records, as the cluster's
// admin and returns its output.
func (s *Stage) Command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.paths.backout, args...)
	cmd.Env = []string{"KUBECONFIG=" + s.Sandbox.Kubeconfig(), "HOME=" + s.Sandbox.Dir()}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("backout %s: %w\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), nil
}
