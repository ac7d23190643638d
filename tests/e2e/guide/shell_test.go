package guide

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// shell is a bash that runs one block after the other, so that variables, functions and background processes stay, as in a reader's terminal.
type shell struct {
	cmd *exec.Cmd
	in  *os.File
	out *bufio.Reader
	dir string // for the blocks' files
	ran int
}

// startShell starts a bash in dir. It ends with the test, with all processes that it has started, and it exits when a command fails or a variable is not set.
func startShell(t *testing.T, dir string, env []string) *shell {
	t.Helper()
	in, into, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{in: into, out: bufio.NewReader(from), dir: t.TempDir()}
	s.cmd = exec.CommandContext(t.Context(), "bash", "-eu")
	s.cmd.Dir, s.cmd.Env = dir, env
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = in, out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.Cancel = func() error { s.kill(); return nil }
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("%v; the page's commands need bash", err)
	}
	_, _ = in.Close(), out.Close()
	t.Cleanup(func() {
		s.kill()
		_ = s.cmd.Wait()
		_, _ = into.Close(), from.Close()
	})
	return s
}

func (s *shell) kill() { _ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) }

// run runs commands and returns their standard output and error.
func (s *shell) run(ctx context.Context, commands string) (string, error) {
	s.ran++
	file := filepath.Join(s.dir, fmt.Sprintf("%d.sh", s.ran))
	if err := os.WriteFile(file, []byte(commands+"\n"), 0o600); err != nil {
		return "", err
	}
	end := fmt.Sprintf("that was block %d", s.ran)
	// From a file: otherwise a command that reads its standard input would consume the following blocks.
	if _, err := fmt.Fprintf(s.in, "source %s < /dev/null\necho\necho '%s'\n", file, end); err != nil {
		return "", fmt.Errorf("give bash the commands: %w", err)
	}
	defer context.AfterFunc(ctx, s.kill)()
	var printed strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err == nil && strings.TrimSpace(line) == end {
			return printed.String(), nil
		}
		printed.WriteString(line)
		if err != nil {
			return printed.String(), errors.Join(errors.New("a command has failed"), context.Cause(ctx))
		}
	}
}
