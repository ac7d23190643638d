// Command images builds the container images of backout and of the storefront without Docker: one archive each, for containerd, kind,
// minikube and `docker load`.
//
//	spec.go     the content of the images: the same as in the Dockerfiles
//	names.go    the names of the images in the charts
//	program.go  the static programs
//	roots.go    the root certificates for HTTPS
//	build.go    an image from files
//	archive.go  the archive: an OCI layout with Docker's manifest.json
//
// The same sources, commit and release of Go give the same bytes, on any machine and at any time.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		stop()
		os.Exit(1)
	}
}

// run builds every image. It writes its progress to progress, and the results to out.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.SetOutput(progress)
	root := flags.String("root", "../../..", "the root of the repository")
	dir := flags.String("out", "../../../bin/images", "the directory for the archives")
	commit := flags.String("commit", "", "the commit that backout reports; none if empty")
	arch := flags.String("arch", runtime.GOARCH, "the nodes' architecture: amd64 or arm64")
	if err := flags.Parse(args); err != nil {
		return err
	}
	specs, err := Specs(*root, *commit)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*dir, 0o750); err != nil {
		return fmt.Errorf("make the archives' directory: %w", err)
	}
	for _, s := range specs {
		began := time.Now()
		fmt.Fprintf(progress, "%s: compiling for linux/%s; the first time takes minutes\n", s.Name, *arch)
		image, err := Build(ctx, *root, *arch, s)
		if err != nil {
			return fmt.Errorf("build image %s: %w", s.Name, err)
		}
		fmt.Fprintf(progress, "%s: writing the archive\n", s.Name)
		file := filepath.Join(*dir, s.Name+".tar")
		if err := WriteArchive(file, image, s.Refs); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
		if err := report(out, *root, file, image, s); err != nil {
			return err
		}
		fmt.Fprintf(progress, "%s: done in %.1fs\n", s.Name, time.Since(began).Seconds())
	}
	fmt.Fprintf(out, "\nLoad each with one of\n  minikube image load FILE\n  kind load image-archive FILE\n  docker load -i FILE\n")
	return nil
}

// report prints the archive's path from the root of the repository, its size, digest and names.
func report(out io.Writer, root, file string, image v1.Image, s Spec) error {
	digest, err := image.Digest()
	if err != nil {
		return fmt.Errorf("read the digest of %s: %w", s.Name, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if inside, err := filepath.Rel(root, file); err == nil && filepath.IsLocal(inside) {
		file = inside
	}
	fmt.Fprintf(out, "%s  %.1f MB\n  %s\n", file, float64(info.Size())/1e6, digest)
	for _, ref := range s.Refs {
		fmt.Fprintf(out, "  %s\n", reference.FamiliarString(ref))
	}
	return nil
}
