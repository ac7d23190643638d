package main

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Annotations of an image in index.json, as `docker save` writes them.
const (
	nameAnnotation = "io.containerd.image.name"
	tagAnnotation  = "org.opencontainers.image.ref.name"
)

// WriteArchive writes image with all names in refs to path, completely or not at all.
//
// The archive is what `docker save` writes since Docker 25: an OCI image layout for containerd, into which kind and minikube import it, and for Docker with
// containerd's image store; and a manifest.json over the same blobs for Docker without it, which reads nothing else. The archive itself is not compressed:
// minikube may load nothing from a compressed one, without an error (kubernetes/minikube#21678). It has one architecture, because manifest.json supports no more.
func WriteArchive(path string, image v1.Image, refs []reference.NamedTagged) error {
	dir, err := os.MkdirTemp("", "images-")
	if err != nil {
		return fmt.Errorf("make a directory for the layout: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := writeLayout(dir, image, refs); err != nil {
		return err
	}
	if err := writeManifest(dir, image, refs); err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return fmt.Errorf("make the archive: %w", err)
	}
	defer func() { _ = os.Remove(part.Name()) }() // after a rename it is gone
	if err := pack(part, dir); err != nil {
		_ = part.Close()
		return err
	}
	if err := part.Chmod(0o644); err != nil {
		_ = part.Close()
		return fmt.Errorf("make the archive readable: %w", err)
	}
	if err := part.Close(); err != nil {
		return fmt.Errorf("close the archive: %w", err)
	}
	return os.Rename(part.Name(), path)
}

// writeLayout writes the OCI image layout; its index contains the image once for each of refs.
func writeLayout(dir string, image v1.Image, refs []reference.NamedTagged) error {
	config, err := image.ConfigFile()
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	var named []mutate.IndexAddendum
	for _, ref := range refs {
		named = append(named, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
			Platform:    config.Platform(),
			Annotations: map[string]string{nameAnnotation: ref.String(), tagAnnotation: ref.Tag()},
		}})
	}
	if _, err := layout.Write(dir, mutate.AppendManifests(empty.Index, named...)); err != nil {
		return fmt.Errorf("write the layout: %w", err)
	}
	return nil
}

// writeManifest writes Docker's manifest.json over the blobs of the layout in dir.
func writeManifest(dir string, image v1.Image, refs []reference.NamedTagged) error {
	manifest, err := image.Manifest()
	if err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	blob := func(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
	entry := tarball.Descriptor{Config: blob(manifest.Config.Digest)}
	for _, ref := range refs {
		entry.RepoTags = append(entry.RepoTags, ref.String()) // the full name: Podman would put a short name under localhost/
	}
	for _, l := range manifest.Layers {
		entry.Layers = append(entry.Layers, blob(l.Digest))
	}
	text, err := json.Marshal(tarball.Manifest{entry})
	if err != nil {
		return fmt.Errorf("encode manifest.json: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "manifest.json"), text, 0o600)
}

// pack writes the content of dir to w, in order of the names, without times and owners of the machine.
func pack(w io.Writer, dir string) error {
	archive := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		inside, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return add(archive, path, filepath.ToSlash(inside), entry)
	})
	if err != nil {
		return fmt.Errorf("pack the archive: %w", err)
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("finish the archive: %w", err)
	}
	return nil
}

func add(archive *tar.Writer, path, inside string, entry fs.DirEntry) error {
	if entry.IsDir() {
		return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: inside + "/", Mode: 0o755, ModTime: epoch()})
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: inside, Mode: 0o644, Size: info.Size(), ModTime: epoch()}); err != nil {
		return err
	}
	_, err = io.Copy(archive, f)
	return err
}
