package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// dockerfile is the part of a Dockerfile that the tests compare: a stage that builds, and a last one from scratch.
type dockerfile struct {
	context [][]string // arguments of the first stage's COPY
	args    []string   // defaults of its build arguments, as NAME=VALUE
	command string     // its go build
	config  v1.Config  // of the last stage
	copied  []string   // into the last stage
}

func readDockerfile(t *testing.T, path string) dockerfile {
	t.Helper()
	d := dockerfile{config: v1.Config{ExposedPorts: map[string]struct{}{}, Labels: map[string]string{}}}
	stages := 0
	text := strings.ReplaceAll(string(contents(t, path)), "\\\n", "")
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "FROM" {
			stages++
		}
		if stages == 2 {
			d.last(t, word, rest)
		} else {
			d.first(word, rest)
		}
	}
	if stages != 2 || d.command == "" {
		t.Fatalf("%s has %d stages and the go build %q; the tests support two stages, the first of which builds", path, stages, d.command)
	}
	return d
}

func (d *dockerfile) first(word, rest string) {
	switch word {
	case "ARG":
		d.args = append(d.args, strings.Fields(rest)...)
	case "COPY":
		d.context = append(d.context, strings.Fields(rest))
	case "RUN":
		if _, command, ok := strings.Cut(rest, "CGO_ENABLED"); ok {
			d.command = "CGO_ENABLED" + command
		}
	}
}

func (d *dockerfile) last(t *testing.T, word, rest string) {
	t.Helper()
	switch word {
	case "FROM":
		if rest != "scratch" {
			t.Errorf("the image begins with %s, want scratch", rest)
		}
	case "LABEL":
		key, value, _ := strings.Cut(rest, "=")
		d.config.Labels[key] = strings.Trim(value, `"`)
	case "USER":
		d.config.User = rest
	case "EXPOSE":
		for port := range strings.FieldsSeq(rest) {
			d.config.ExposedPorts[port+"/tcp"] = struct{}{}
		}
	case "ENTRYPOINT":
		if err := json.Unmarshal([]byte(rest), &d.config.Entrypoint); err != nil {
			t.Fatalf("read ENTRYPOINT %s: %v", rest, err)
		}
	case "COPY":
		words := strings.Fields(rest)
		from, to := words[len(words)-2], words[len(words)-1]
		if strings.HasSuffix(to, "/") {
			to += path.Base(from)
		}
		d.copied = append(d.copied, to)
	case "", "#":
	default:
		t.Errorf("the tests do not support %s in the last stage: add it here and to spec.go", word)
	}
}

// build runs the first stage's go build on the files that it copies, and returns the program.
func (d *dockerfile) build(t *testing.T, program string) string {
	t.Helper()
	out, dir := t.TempDir(), t.TempDir()
	for _, c := range d.context {
		for _, from := range c[:len(c)-1] {
			copyContext(t, from, filepath.Join(dir, c[len(c)-1]))
		}
	}
	env := []string{"TARGETOS=linux", "TARGETARCH=" + runtime.GOARCH}
	for _, arg := range d.args {
		if name, fallback, _ := strings.Cut(arg, "="); !strings.HasPrefix(name, "TARGET") {
			env = append(env, name+"="+fallback)
		}
	}
	goBuild(t, dir, strings.ReplaceAll(d.command, "/out/", out+"/"), env...)
	return string(contents(t, filepath.Join(out, program)))
}

// copyContext copies from, a file or directory of the repository, into the directory to, without the files in .dockerignore.
func copyContext(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(filepath.Join(repository, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	patterns, err := ignorefile.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	begin := filepath.Join(repository, from)
	err = filepath.WalkDir(begin, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(repository, at)
		if err != nil {
			return err
		}
		skip, err := ignored.MatchesOrParentMatches(inside)
		if err != nil || inside == "." {
			return err
		}
		if skip && entry.IsDir() {
			return fs.SkipDir
		}
		if skip || entry.IsDir() {
			return nil
		}
		rest, err := filepath.Rel(begin, at)
		if err != nil {
			return err
		}
		if at == begin {
			rest = entry.Name()
		}
		target := filepath.Join(to, rest)
		if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
			return err
		}
		return os.WriteFile(target, contents(t, at), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
