// Command vuln finds the known vulnerabilities that programs reach, with govulncheck and a
// pinned database: the same commit gives the same answer, and needs nothing but Go's module
// proxy. It runs at the root of the repository; its arguments are packages.
//
// It exits with 1 if a program reaches a vulnerability or the database cannot be read. With
// -max-age it exits with 1 if the database is older, too; without, an old one is a warning.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The database is the source of https://vuln.go.dev, 25 MB as a module. To raise it: go mod
// download -json golang.org/x/vulndb@latest prints both.
const (
	database = "golang.org/x/vulndb"
	version  = "v0.0.0-20261105234957-e22db6528018"
	sum      = "h1:mfngRv0Yoh0VApsXKEN82CjD99kl7mtparN3bs3JnqI="
)

// warnAge is the age of a database from which vuln warns of it.
const warnAge = 30 * 24 * time.Hour

func main() {
	maxAge := flag.Duration("max-age", 0, "refuse an older database, such as 720h; 0 only warns")
	flag.Parse()
	if err := run(context.Background(), *maxAge, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, maxAge time.Duration, packages []string) error {
	if len(packages) == 0 {
		return errors.New("name the packages of the programs, such as . ./app")
	}
	warning, err := checkAge(version, time.Now(), maxAge)
	if err != nil {
		return err
	}
	if warning != "" {
		fmt.Fprintln(os.Stderr, "vuln:", warning)
	}
	directory, err := download(ctx)
	if err != nil {
		return err
	}
	arguments := append([]string{
		"tool", "-modfile=tools/go.mod", "govulncheck", "-tags", "nomsgpack", "-db", "file://" + filepath.ToSlash(filepath.Join(directory, "data", "osv")),
	}, packages...)
	check := exec.CommandContext(ctx, "go", arguments...)
	check.Stdout, check.Stderr = os.Stdout, os.Stderr
	if err := check.Run(); err != nil {
		return fmt.Errorf("govulncheck: %w; raise what the findings name", err)
	}
	return nil
}

// checkAge returns a warning about an old database, and an error about one that is older
// than maxAge.
func checkAge(version string, now time.Time, maxAge time.Duration) (string, error) {
	parts := strings.Split(version, "-")
	at, err := time.Parse("20060102150405", parts[max(0, len(parts)-2)])
	if err != nil {
		return "", fmt.Errorf("read the age of %s: %w", version, err)
	}
	age := now.Sub(at)
	text := fmt.Sprintf("the database of vulnerabilities is %d days old: raise the version in tests/tools/vuln/main.go", int(age.Hours()/24))
	switch {
	case maxAge > 0 && age > maxAge:
		return "", errors.New(text)
	case age > warnAge:
		return text, nil
	default:
		return "", nil
	}
}

// download returns the directory of the database.
func download(ctx context.Context) (string, error) {
	get := exec.CommandContext(ctx, "go", "mod", "download", "-json", database+"@"+version)
	get.Dir = os.TempDir() // outside of every module: no go.mod changes
	var out, problem bytes.Buffer
	get.Stdout, get.Stderr = &out, &problem
	runErr := get.Run()
	var module struct{ Dir, Sum, Error string }
	if err := json.Unmarshal(out.Bytes(), &module); err != nil {
		return "", fmt.Errorf("download %s: %w %s", database, errors.Join(runErr, err), problem.String())
	}
	switch {
	case module.Error != "" || runErr != nil:
		return "", fmt.Errorf("download %s: %s", database, module.Error)
	case module.Sum != sum:
		return "", fmt.Errorf("download %s: its sum is %s, want %s", database, module.Sum, sum)
	}
	return module.Dir, nil
}
