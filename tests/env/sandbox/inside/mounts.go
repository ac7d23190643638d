package inside

import (
	"errors"
	"fmt"
	"syscall"
)

// SetUpMounts keeps later mounts from propagating to the host, and mounts a /proc that shows the processes of this PID
// namespace: programs find themselves there by their own process ID. A container that hides parts of /proc forbids a new
// mount; then the host's /proc stays, and only the programs' own memory and CPU metrics are wrong.
func SetUpMounts() error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, "")
	if err != nil && !errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}
