package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// ErrNamespaces is wrapped by every error about namespaces that this machine does not permit.
var ErrNamespaces = errors.New("this machine does not permit a sandbox")

// A sandbox's own network, processes and mounts. Users other than root may create them in a user namespace of their own.
const (
	ownNamespaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	userNamespace = syscall.CLONE_NEWUSER
)

// startInNamespaces starts the command as process 1 of new namespaces. Root does without a user namespace where the kernel
// refuses one.
func startInNamespaces(command func() (*exec.Cmd, error)) (*exec.Cmd, error) {
	cmd, err := command()
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: ownNamespaces | userNamespace,
		// Root inside is the caller outside, so that the caller owns the files.
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		// Without the terminal, Ctrl-C reaches only the caller, which then ends the sandbox.
		Setsid: true,
	}
	err = cmd.Start()
	if err == nil {
		return cmd, nil
	}
	if refused(err) && os.Geteuid() == 0 {
		if cmd, err = command(); err != nil {
			return nil, err
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: ownNamespaces, Setsid: true}
		if err = cmd.Start(); err == nil {
			return cmd, nil
		}
	}
	if refused(err) {
		return nil, readKernelSettings().explain(err)
	}
	return nil, fmt.Errorf("start the sandbox program: %w", err)
}

// refused reports whether the kernel refused namespaces, as opposed to any other error. clone(2) and user_namespaces(7) name
// the errors.
func refused(err error) bool {
	for _, e := range []syscall.Errno{syscall.EPERM, syscall.ENOSPC, syscall.EUSERS, syscall.EINVAL, syscall.ENOSYS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// kernelSettings are the kernel's settings for namespaces; a setting that this kernel does not have is "".
type kernelSettings struct {
	maxUserNamespaces string // user.max_user_namespaces
	unprivilegedClone string // kernel.unprivileged_userns_clone, of Debian's kernels
	appArmorRestricts string // kernel.apparmor_restrict_unprivileged_userns, of Ubuntu's
	inContainer       bool
	root              bool
}

func readKernelSettings() kernelSettings {
	setting := func(path string) string {
		b, err := os.ReadFile("/proc/sys/" + path)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	return kernelSettings{
		maxUserNamespaces: setting("user/max_user_namespaces"),
		unprivilegedClone: setting("kernel/unprivileged_userns_clone"),
		appArmorRestricts: setting("kernel/apparmor_restrict_unprivileged_userns"),
		inContainer:       exists("/.dockerenv") || exists("/run/.containerenv"),
		root:              os.Geteuid() == 0,
	}
}

// explain says why namespaces were refused, how to permit them, and what to use instead.
func (k kernelSettings) explain(cause error) error {
	why, remedy := "the kernel refuses new user namespaces", "run as root"
	switch {
	case k.maxUserNamespaces == "0":
		why, remedy = "user namespaces are switched off (user.max_user_namespaces is 0)", "sudo sysctl -w user.max_user_namespaces=10000"
	case errors.Is(cause, syscall.ENOSPC), errors.Is(cause, syscall.EUSERS):
		why = "there are as many user namespaces as user.max_user_namespaces allows (" + orUnknown(k.maxUserNamespaces) + ")"
		remedy = "end other programs that use them, or sudo sysctl -w user.max_user_namespaces=100000"
	case k.unprivilegedClone == "0" && !k.root:
		why, remedy = "user namespaces are for root only (kernel.unprivileged_userns_clone is 0)", "sudo sysctl -w kernel.unprivileged_userns_clone=1"
	case k.appArmorRestricts == "1" && !k.root:
		why = "AppArmor restricts user namespaces to root (kernel.apparmor_restrict_unprivileged_userns is 1)"
		remedy = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	case k.inContainer:
		why, remedy = "this container may not make namespaces", "start the container with --privileged"
	case k.root:
		why, remedy = "root lacks the right to make namespaces here (CAP_SYS_ADMIN)", "run outside of the container or service that takes it away"
	}
	return fmt.Errorf("%w: %s (%w)\n  To permit it:  %s\n  Or use a cluster of your own instead:  minikube start, or kind create cluster",
		ErrNamespaces, why, cause, remedy)
}

func orUnknown(setting string) string {
	if setting == "" {
		return "unknown"
	}
	return setting
}
