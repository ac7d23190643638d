package cell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// mountMemory mounts an empty file system in memory.
func mountMemory(at string, mode uint32) error {
	if err := unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode="+strconv.FormatUint(uint64(mode), 8)); err != nil {
		return fmt.Errorf("mount an empty file system at %s: %w", at, err)
	}
	return nil
}

// bind mounts a file or directory, with all mounts below it, at another path.
func bind(source, at string) error {
	if err := unix.Mount(source, at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", source, err)
	}
	return nil
}

// setReadOnly makes one mount read-only. In a user namespace the mount's other flags must stay as they are.
func setReadOnly(at string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(at, &s); err != nil {
		return fmt.Errorf("read the flags of the mount %s: %w", at, err)
	}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY)
	// The flags of statfs(2) and of mount(2) have the same values for these.
	flags |= uintptr(uint64(s.Flags)) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME) //nolint:gosec // flags
	if s.Flags&unix.ST_RELATIME != 0 {
		flags |= unix.MS_RELATIME
	}
	if err := unix.Mount("", at, "", flags, ""); err != nil {
		return fmt.Errorf("make the mount %s read-only: %w", at, err)
	}
	return nil
}

// bind mounts m in the tree below root.
func (m Mount) bind(root string) error {
	at := filepath.Join(root, m.Target)
	if err := bind(m.Source, at); err != nil {
		return fmt.Errorf("mount at %s: %w", m.Target, err)
	}
	if !m.ReadOnly {
		return nil
	}
	return setReadOnly(at)
}

// stub makes an empty file or directory to mount source on, and the directories above it.
func stub(source, at string) error {
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("read the source of a mount: %w", err)
	}
	dir := at
	if !info.IsDir() {
		dir = filepath.Dir(at)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // programs of any user traverse it
		return fmt.Errorf("make a place for a mount: %w", err)
	}
	if info.IsDir() {
		return nil
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make a place for a mount: %w", err)
	}
	return f.Close()
}

// follow resolves the symbolic links in the part of an absolute path that exists on the machine.
func follow(path string) (string, error) {
	rest := ""
	for existing := path; ; existing = filepath.Dir(existing) {
		resolved, err := filepath.EvalSymlinks(existing)
		if err == nil {
			return filepath.Join(resolved, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return "", fmt.Errorf("find the place of a mount: %w", err)
		}
		rest = filepath.Join(filepath.Base(existing), rest)
	}
}

// relink makes a copy of a symbolic link.
func relink(from, at string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return fmt.Errorf("read a symbolic link: %w", err)
	}
	if err := os.Symlink(target, at); err != nil {
		return fmt.Errorf("copy a symbolic link: %w", err)
	}
	return nil
}
