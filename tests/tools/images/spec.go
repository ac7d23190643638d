package main

import "github.com/distribution/reference"

// Spec is the content of an image. The Dockerfile of the same program builds the same image; a test compares them.
type Spec struct {
	// Name is the name of the program's file in the image, and of the archive.
	Name string
	// Package is the program's package, relative to the root of the repository.
	Package string
	// Tags are build tags, with commas between them.
	Tags string
	// LDFlags are the linker's flags.
	LDFlags string
	// Dockerfile builds the same image; its path is relative to the root of the repository.
	Dockerfile string
	// Refs are the names of the loaded image, at least one.
	Refs []reference.NamedTagged
	// Ports are the ports that the program listens on.
	Ports []int
	// Roots says that the image contains root certificates, for a program that sends HTTPS requests.
	Roots bool
	// Labels are labels of org.opencontainers.image.
	Labels map[string]string
}

// User is numeric, so that the kubelet can check runAsNonRoot without /etc/passwd.
const User = "65532:65532"

const (
	labels = "org.opencontainers.image."
	source = "https://github.com/upcommerce/backout"
)

// stripped leaves out the symbols and the debug information.
const stripped = "-s -w"

// Specs returns the images of the repository at root, named as its charts name them.
// backout reports the commit, if it is not "".
func Specs(root, commit string) ([]Spec, error) {
	n, err := readNames(root)
	if err != nil {
		return nil, err
	}
	return []Spec{
		{
			Name: "backout", Package: ".", Tags: "nomsgpack", Dockerfile: "Dockerfile", Refs: n.backout, Ports: []int{8080, 9090}, Roots: true,
			LDFlags: stripped + setVersion("version", n.version) + setVersion("commit", commit),
			Labels: map[string]string{
				labels + "title":       "backout",
				labels + "description": "Takes bad canaries out of rotation and rolls their Helm releases back",
				labels + "source":      source,
				labels + "licenses":    "Apache-2.0",
				labels + "version":     n.version,
			},
		},
		{
			Name: "storefront", Package: "./app", Dockerfile: "app/Dockerfile", Refs: n.storefront, Ports: []int{5000},
			LDFlags: stripped,
			Labels: map[string]string{
				labels + "title":       "storefront",
				labels + "description": "The UpCommerce storefront, with fault injection",
				labels + "source":      source,
				labels + "licenses":    "Apache-2.0",
			},
		},
	}, nil
}

// setVersion is the linker's flag that sets a variable of package version.
func setVersion(variable, value string) string {
	return " -X github.com/upcommerce/backout/internal/version." + variable + "=" + value
}
