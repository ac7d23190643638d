package cell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Tree is the file tree of a program: the machine's files below a layer of its own. The program's writes stay in memory and are
// lost when it ends. /tmp and /run are empty at first.
type Tree struct {
	// Scratch is an empty directory. Only the program's mount namespace sees the mounts in it.
	Scratch string
	// Programs are executables that the tree shows at their own absolute paths.
	Programs []string
	// Mounts are mounted in this order.
	Mounts []Mount
	// ReadOnly forbids writing anywhere but in Mounts.
	ReadOnly bool
}

// Mount mounts a file or directory of the machine in a Tree.
type Mount struct {
	// Source must exist. Target is absolute, and is created.
	Source, Target string
	ReadOnly       bool
}

// root returns the path where the tree is mounted.
func (t Tree) root() string { return filepath.Join(t.Scratch, "root") }

// build mounts the tree in the mount namespace of the calling thread, which must be new.
func (t Tree) build() error {
	if err := mountMemory(t.Scratch, 0o755); err != nil {
		return err
	}
	for _, dir := range []string{t.root(), t.upper(""), t.work("")} {
		if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // / is for every user
			return fmt.Errorf("make a directory for a layer: %w", err)
		}
	}
	// A mount of its own, so that it can be made read-only.
	if err := mountMemory(t.root(), 0o755); err != nil {
		return err
	}
	mounts, err := t.resolved()
	if err != nil {
		return err
	}
	layered, err := t.layers(mounts)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if slices.Contains(layered, top(m.Target)) {
			continue // the layer has it already
		}
		if err := stub(m.Source, filepath.Join(t.root(), m.Target)); err != nil {
			return err
		}
	}
	if t.ReadOnly {
		if err := t.lock(layered); err != nil {
			return err
		}
	}
	for _, m := range mounts {
		if err := m.bind(t.root()); err != nil {
			return err
		}
	}
	return nil
}

func (t Tree) upper(name string) string { return filepath.Join(t.Scratch, "upper", name) }
func (t Tree) work(name string) string  { return filepath.Join(t.Scratch, "work", name) }

// resolved returns all mounts, and mounts of the programs that would be hidden, with the symbolic links in their targets
// resolved.
func (t Tree) resolved() ([]Mount, error) {
	mounts := slices.Clone(t.Mounts)
	for _, p := range t.Programs {
		if isFresh(top(p)) {
			mounts = append(mounts, Mount{Source: p, Target: p, ReadOnly: true})
		}
	}
	for i := range mounts {
		target, err := follow(filepath.Clean(mounts[i].Target))
		if err != nil {
			return nil, err
		}
		mounts[i].Target = target
	}
	return mounts, nil
}

// layers shows the machine's top directories and returns the writable ones. Each gets a layer of its own: in a user namespace the
// kernel refuses one layer over all of /, because it would uncover files that are hidden by mounts.
func (t Tree) layers(mounts []Mount) (layered []string, err error) {
	entries, err := os.ReadDir("/")
	if err != nil {
		return nil, fmt.Errorf("list the top directories: %w", err)
	}
	for _, e := range entries {
		at, from := filepath.Join(t.root(), e.Name()), "/"+e.Name()
		if e.Type() == fs.ModeSymlink {
			if err := relink(from, at); err != nil {
				return nil, err
			}
			continue
		}
		if !e.IsDir() || isHidden(e.Name()) {
			continue
		}
		if err := os.Mkdir(at, 0o755); err != nil { //nolint:gosec // a top directory is for every user
			return nil, fmt.Errorf("make a top directory: %w", err)
		}
		switch {
		case isFresh(e.Name()):
			err = mountMemory(at, 0o777|unix.S_ISVTX)
		case isKernels(e.Name()):
			err = bind(from, at)
		default:
			var over bool
			if over, err = t.layer(e.Name(), mounts); over {
				layered = append(layered, e.Name())
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return layered, nil
}

// layer shows a top directory, writable if possible, otherwise read-only, and reports which.
func (t Tree) layer(name string, mounts []Mount) (over bool, err error) {
	upper, work, at := t.upper(name), t.work(name), filepath.Join(t.root(), name)
	if err := errors.Join(os.Mkdir(upper, 0o755), os.Mkdir(work, 0o700)); err != nil { //nolint:gosec // as above
		return false, fmt.Errorf("make a layer over /%s: %w", name, err)
	}
	for _, m := range mounts {
		// The caller owns stubs that are made here; in a user namespace it may not write to directories of other users.
		if top(m.Target) == name {
			if err := stub(m.Source, t.upper(m.Target)); err != nil {
				return false, err
			}
		}
	}
	options := "lowerdir=/" + name + ",upperdir=" + upper + ",workdir=" + work + ",userxattr"
	if unix.Mount("overlay", at, "overlay", 0, options) == nil {
		return true, nil
	}
	// A file system of the machine is mounted below it, or the kernel is old.
	if err := bind("/"+name, at); err != nil {
		return false, err
	}
	return false, setReadOnly(at)
}

// lock makes everything that has been built so far read-only.
func (t Tree) lock(layered []string) error {
	for _, name := range append(slices.Clone(layered), "tmp", "run", "") {
		at := filepath.Join(t.root(), name)
		if _, err := os.Stat(at); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := setReadOnly(at); err != nil {
			return err
		}
	}
	return nil
}

func isFresh(name string) bool   { return name == "tmp" || name == "run" }
func isKernels(name string) bool { return name == "proc" || name == "sys" || name == "dev" }
func isHidden(name string) bool {
	return slices.Contains([]string{"boot", "lost+found", "media", "mnt"}, name)
}

// top returns the first element of an absolute path.
func top(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return name
}
