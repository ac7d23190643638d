package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time of everything in an image and its archive, so that they do not depend on the time of the build.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// Build compiles the program of s from the repository at root and returns its image for linux on arch.
func Build(ctx context.Context, root, arch string, s Spec) (v1.Image, error) {
	dir, err := os.MkdirTemp("", "images-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the program: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program, err := compile(ctx, root, arch, dir, s)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	var files []file
	if s.Roots {
		roots, err := authorities()
		if err != nil {
			return nil, err
		}
		files = append(files, file{rootsPath, 0o644, roots})
	}
	return assemble(arch, s, append(files, file{s.Name, 0o755, text}))
}

// assemble makes an image with a layer for each file, so that a new program does not change the layers before it.
func assemble(arch string, s Spec, files []file) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	ports := map[string]struct{}{}
	for _, p := range s.Ports {
		ports[fmt.Sprintf("%d/tcp", p)] = struct{}{}
	}
	image, err := mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: arch, OS: "linux", Created: v1.Time{Time: epoch()}, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: User, Entrypoint: []string{"/" + s.Name}, ExposedPorts: ports, Labels: s.Labels, WorkingDir: "/",
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	for _, f := range files {
		l, err := layer(f)
		if err != nil {
			return nil, fmt.Errorf("make the layer of /%s: %w", f.path, err)
		}
		if image, err = mutate.Append(image, mutate.Addendum{
			Layer: l, MediaType: types.OCILayer,
			History: v1.History{Created: v1.Time{Time: epoch()}, CreatedBy: "COPY /" + f.path},
		}); err != nil {
			return nil, fmt.Errorf("add the layer of /%s: %w", f.path, err)
		}
	}
	return image, nil
}

// file is a file of an image, owned by root.
type file struct {
	path string // from the root, without a slash at the start
	mode int64
	text []byte
}

// layer returns a layer with f and the directories above it.
func layer(f file) (v1.Layer, error) {
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	var above []string
	for dir := path.Dir(f.path); dir != "."; dir = path.Dir(dir) {
		above = append(above, dir)
	}
	for _, dir := range slices.Backward(above) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: epoch()}); err != nil {
			return nil, err
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: f.mode, Size: int64(len(f.text)), ModTime: epoch()}); err != nil {
		return nil, err
	}
	if _, err := w.Write(f.text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(gzip.DefaultCompression), tarball.WithCompressedCaching)
}
