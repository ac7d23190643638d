package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// archives are the archives of `make images`, built once for all tests.
var archives struct {
	sync.Once
	dir    string
	output bytes.Buffer
	err    error
}

func TestMain(m *testing.M) {
	status := m.Run()
	if archives.dir != "" {
		_ = os.RemoveAll(archives.dir)
	}
	os.Exit(status)
}

// built returns the directory of the archives.
func built(t *testing.T) string {
	t.Helper()
	archives.Do(func() {
		if archives.dir, archives.err = os.MkdirTemp("", "images-test-"); archives.err != nil { //nolint:usetesting // it outlives the first test
			return
		}
		archives.err = run(t.Context(), []string{"-root", repository, "-out", archives.dir}, &archives.output, os.Stderr)
	})
	if archives.err != nil {
		t.Fatal(archives.err)
	}
	return archives.dir
}

func TestMakeImagesPrintsTheNames(t *testing.T) {
	dir := built(t)
	for _, program := range []string{"backout", "storefront"} {
		for _, ref := range spec(t, program).Refs {
			short := strings.TrimPrefix(ref.String(), "docker.io/library/")
			if !strings.Contains(archives.output.String(), short+"\n") {
				t.Errorf("the output does not name %s:\n%s", short, archives.output.String())
			}
		}
		if _, err := os.Stat(filepath.Join(dir, program+".tar")); err != nil {
			t.Errorf("the archive of %s: %v", program, err)
		}
	}
}

// A container of scratch has no loader and no libraries.
func TestProgramsAreStatic(t *testing.T) {
	for _, program := range []string{"backout", "storefront"} {
		_, text := programOf(t, imageOf(t, program), program)
		f, err := elf.NewFile(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", program, err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s has a program header %s: it needs a loader", program, p.Type)
			}
		}
	}
}

// The Dockerfile builds the same image: the same program, from only the files that it copies, at the same path, with the same settings.
func TestDockerfileBuildsTheSameImage(t *testing.T) {
	for _, program := range []string{"backout", "storefront"} {
		t.Run(program, func(t *testing.T) {
			s := spec(t, program)
			d := readDockerfile(t, filepath.Join(repository, s.Dockerfile))
			image := imageOf(t, program)
			config, err := image.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := describe(config.Config), describe(d.config); got != want {
				t.Errorf("the image is\n%s\nbut the Dockerfile's is\n%s", got, want)
			}
			path, text := programOf(t, image, program)
			if want := append(d.copied, "/"+path); len(d.copied) == 0 || !slices.Contains(d.copied, "/"+path) {
				t.Errorf("the Dockerfile copies %q into the image, want %q", d.copied, want)
			}
			if s.Roots != slices.Contains(d.copied, "/"+rootsPath) {
				t.Errorf("the Dockerfile copies %q into the image; root certificates must be in both images or in neither", d.copied)
			}
			if got := d.build(t, program); got != text {
				t.Errorf("the Dockerfile's go build makes a different program: %d bytes, want the image's with %d", len(got), len(text))
			}
		})
	}
}

// The tag in the chart is its appVersion.
func TestDockerfileHasTheChartsVersion(t *testing.T) {
	d := readDockerfile(t, filepath.Join(repository, "Dockerfile"))
	if got, want := d.config.Labels[labels+"version"], spec(t, "backout").Refs[0].Tag(); got != want {
		t.Errorf("the Dockerfile has version %s, the chart appVersion %s", got, want)
	}
}

// The tags in the chart's default values, and the exercise's next one, are the tags of the storefront.
func TestTagsOfTheChart(t *testing.T) {
	var values valuesFile
	if err := readYAML(filepath.Join(repository, "charts/canary-demo/values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, ref := range spec(t, "storefront").Refs {
		tags = append(tags, ref.Tag())
	}
	if want := []string{values.Image.Tag, values.Canary.Image.Tag, "v3"}; !slices.Equal(tags, want) {
		t.Errorf("the storefront has the tags %q, but the exercise uses %q", tags, want)
	}
}

func TestBuildsAreReproducible(t *testing.T) {
	dir := t.TempDir()
	s := spec(t, "storefront")
	image, err := Build(t.Context(), repository, runtime.GOARCH, s)
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(dir, "again.tar")
	if err := WriteArchive(again, image, s.Refs); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, again), contents(t, filepath.Join(built(t), "storefront.tar"))) {
		t.Error("two archives from the same sources differ")
	}
}

// describe returns the part of a configuration that determines how a container is started.
func describe(c v1.Config) string {
	return fmt.Sprintf("user %s, entrypoint %q, command %q, ports %v, labels %v", c.User, c.Entrypoint, c.Cmd, c.ExposedPorts, c.Labels)
}

// imageOf reads the image from the built archive.
func imageOf(t *testing.T, program string) v1.Image {
	t.Helper()
	return fromArchive(t, filepath.Join(built(t), program+".tar"))
}

func programOf(t *testing.T, image v1.Image, program string) (path, text string) {
	t.Helper()
	f, ok := read(t, mutate.Extract(image))[program]
	if !ok {
		t.Fatalf("the image has no /%s", program)
	}
	return f.Name, f.text
}

func goBuild(t *testing.T, dir, command string, env ...string) {
	t.Helper()
	build := exec.CommandContext(t.Context(), "sh", "-ec", command)
	build.Dir = dir
	build.Env = append(os.Environ(), append(env, "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=auto")...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}
