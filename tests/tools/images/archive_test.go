package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const repository = "../../.."

// small returns the spec of a program, and an image with a text in place of the program.
func small(t *testing.T, program string) (Spec, v1.Image) {
	t.Helper()
	s := spec(t, program)
	files := []file{{rootsPath, 0o644, []byte("roots")}, {s.Name, 0o755, []byte("program")}}
	image, err := assemble("arm64", s, files)
	if err != nil {
		t.Fatal(err)
	}
	return s, image
}

func spec(t *testing.T, program string) Spec {
	t.Helper()
	specs, err := Specs(repository, "")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(specs, func(s Spec) bool { return s.Name == program })
	if i < 0 {
		t.Fatalf("no image has the name %s", program)
	}
	return specs[i]
}

func write(t *testing.T, image v1.Image, s Spec) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), s.Name+".tar")
	if err := WriteArchive(path, image, s.Refs); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestArchiveIsAnOCILayout(t *testing.T) {
	s, image := small(t, "storefront")
	dir := t.TempDir()
	unpack(t, write(t, image, s), dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Errorf("the layout has a wrong digest, size or type: %v", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	want, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range manifest.Manifests {
		names = append(names, m.Annotations[nameAnnotation])
		if m.Digest != want {
			t.Errorf("%s is image %s, want %s: one image serves every version", m.Annotations[nameAnnotation], m.Digest, want)
		}
		if got := m.Platform.String(); got != "linux/arm64" {
			t.Errorf("%s is for %s, want linux/arm64", m.Annotations[nameAnnotation], got)
		}
	}
	if want := []string{"docker.io/library/storefront:v1", "docker.io/library/storefront:v2", "docker.io/library/storefront:v3"}; !slices.Equal(names, want) {
		t.Errorf("containerd would name the images %q, want %q", names, want)
	}
}

// Docker without containerd's image store reads manifest.json, and nothing else.
func TestArchiveIsADockerArchiveToo(t *testing.T) {
	s, image := small(t, "backout")
	path := write(t, image, s)
	want, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range s.Refs {
		tag, err := name.NewTag(ref.String())
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := tarball.ImageFromPath(path, &tag)
		if err != nil {
			t.Fatalf("manifest.json has no %s: %v", ref, err)
		}
		if got, err := loaded.ConfigName(); err != nil || got != want {
			t.Errorf("manifest.json has configuration %s (%v), the layout has %s", got, err, want)
		}
		files := read(t, mutate.Extract(loaded))
		if files[s.Name].text != "program" || files[rootsPath].text != "roots" {
			t.Errorf("Docker would find %q in the image, want the program and the root certificates", slices.Sorted(maps.Keys(files)))
		}
	}
}

func TestArchivesAreReproducible(t *testing.T) {
	s, image := small(t, "backout")
	_, again := small(t, "backout")
	first, second := contents(t, write(t, image, s)), contents(t, write(t, again, s))
	if !bytes.Equal(first, second) {
		t.Error("two archives of the same image differ")
	}
	for name, f := range read(t, bytes.NewReader(first)) {
		if !f.ModTime.Equal(epoch()) || f.Uid != 0 || f.Uname != "" {
			t.Errorf("%s in the archive has time %s and owner %d %q of the machine that built it", name, f.ModTime, f.Uid, f.Uname)
		}
	}
}

func TestFilesOfAnImage(t *testing.T) {
	s, image := small(t, "backout")
	files := read(t, mutate.Extract(image))
	for name, mode := range map[string]int64{"etc": 0o755, "etc/ssl": 0o755, "etc/ssl/certs": 0o755, rootsPath: 0o644, s.Name: 0o755} {
		f, ok := files[name]
		if !ok {
			t.Errorf("the image has no /%s", name)
			continue
		}
		if f.Mode != mode || f.Uid != 0 || !f.ModTime.Equal(epoch()) {
			t.Errorf("%s has mode %o, owner %d, time %s; want %o, root, %s", name, f.Mode, f.Uid, f.ModTime, mode, epoch())
		}
	}
	if len(files) != 5 {
		t.Errorf("the image has %d files, want only the program, the root certificates and their directories: %q", len(files), slices.Sorted(maps.Keys(files)))
	}
}

func TestArchiveIsCompleteOrAbsent(t *testing.T) {
	s, image := small(t, "backout")
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(path, "by a directory"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := WriteArchive(path, image, s.Refs); err == nil {
		t.Error("an archive was written over a directory")
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.part")); err != nil || len(left) > 0 {
		t.Errorf("an unfinished archive is left behind: %v, %v", left, err)
	}
}

func TestAnUnknownArchitectureIsRefused(t *testing.T) {
	_, err := Build(t.Context(), repository, "aarch64", spec(t, "storefront"))
	if err == nil || !strings.Contains(err.Error(), "ARCH=arm64 make images") {
		t.Errorf("for aarch64 the error is %v, want the known names and an example", err)
	}
}

// member is a file of a tar.
type member struct {
	tar.Header
	text string
}

func read(t *testing.T, r io.Reader) map[string]member {
	t.Helper()
	files := map[string]member{}
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = member{*header, string(text)}
	}
}

// fromArchive returns the first image of an archive's layout.
func fromArchive(t *testing.T, path string) v1.Image {
	t.Helper()
	dir := t.TempDir()
	unpack(t, path, dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func unpack(t *testing.T, path, dir string) {
	t.Helper()
	for name, f := range read(t, bytes.NewReader(contents(t, path))) {
		if f.Typeflag == tar.TypeDir {
			continue
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
