package kubelet

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// dataLink is the link that the paths of all files in a volume pass through. A new target for it replaces all files at once.
const dataLink = "..data"

// show makes a directory show the payload, as a kubelet does: files are links through ..data to a directory that is never
// written again.
func (p payload) show(dir string) error {
	if p.isShown(dir) {
		return nil
	}
	if err := p.write(dir); err != nil {
		return fmt.Errorf("write a volume: %w", err)
	}
	return nil
}

func (p payload) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // every user of the pod may read it
		return err
	}
	before, _ := os.Readlink(filepath.Join(dir, dataLink))
	version, err := os.MkdirTemp(dir, "..version-")
	if err != nil {
		return err
	}
	if err := os.Chmod(version, 0o755); err != nil { //nolint:gosec // as above
		return err
	}
	for path, c := range p {
		if err := c.write(filepath.Join(version, path)); err != nil {
			return err
		}
	}
	next := filepath.Join(dir, "..data_tmp")
	if err := os.Symlink(filepath.Base(version), next); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(dir, dataLink)); err != nil {
		return err
	}
	if err := p.link(dir); err != nil {
		return err
	}
	if before == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(dir, before))
}

func (c content) write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as above
		return err
	}
	if err := os.WriteFile(path, c.data, 0o600); err != nil {
		return err
	}
	return os.Chmod(path, fs.FileMode(c.mode)&fs.ModePerm) //nolint:gosec // validated by the API server
}

// tops returns the names at the top of the volume.
func (p payload) tops() map[string]bool {
	names := map[string]bool{}
	for path := range p {
		name, _, _ := strings.Cut(path, "/")
		names[name] = true
	}
	return names
}

// link creates the links at the top of the volume, and removes those that the payload no longer has.
func (p payload) link(dir string) error {
	wanted := p.tops()
	for name := range wanted {
		err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "..") && !wanted[e.Name()] {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// isShown reports whether the directory shows exactly the payload.
func (p payload) isShown(dir string) bool {
	root, err := os.OpenRoot(filepath.Join(dir, dataLink))
	if err != nil {
		return false
	}
	defer func() { _ = root.Close() }()
	shown := 0
	err = fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := root.ReadFile(path)
		if c, wanted := p[path]; err != nil || !wanted || !bytes.Equal(data, c.data) {
			return errors.Join(err, errDiffers)
		}
		shown++
		return nil
	})
	return err == nil && shown == len(p)
}

var errDiffers = errors.New("the volume shows something else")
