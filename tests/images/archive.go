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

// WriteArchive writes image under all of refs to path, whole or not at all.
//
// The archive is what `docker save` writes since Docker 25: an OCI image layout for containerd, which kind and minikube hand it to, and for Docker with
// containerd's image store; manifest.json over the same blobs for Docker without it, which reads nothing else. It is not compressed as a whole: minikube
// may load nothing from such a one, and not say so (kubernetes/minikube#21678). It has one architecture, since manifest.json knows no more.
func WriteArchive(path string, image v1.Image, refs []reference.NamedTagged) error {
	dir, err := os.MkdirTemp("", "images-")
	if err != nil {
		return fmt.Errorf("make a place for the layout: %w", err)
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
	defer func() { _ = os.Remove(part.Name()) }() // gone by then, if it was renamed
	if err := pack(part, dir); err != nil {
		_ = part.Close()
		return err
	}
	if err := part.Chmod(0o644); err != nil {
		_ = part.Close()
		return fmt.Errorf("let others read the archive: %w", err)
	}
	if err := part.Close(); err != nil {
		return fmt.Errorf("close the archive: %w", err)
	}
	return os.Rename(part.Name(), path)
}

// writeLayout writes the OCI image layout; its index names image once for each of refs.
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
		entry.RepoTags = append(entry.RepoTags, ref.String()) // whole: Podman puts a short name under localhost/
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

// pack writes what is in dir to w, in order of the names, with nothing of the machine in it.
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
		return fmt.Errorf("end the archive: %w", err)
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
