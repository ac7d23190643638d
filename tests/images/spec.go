package main

import "github.com/distribution/reference"

// Spec says what is in an image. The Dockerfile of the same program makes the same one; a test holds them together.
type Spec struct {
	// Name is the program's: of its file in the image, and of the archive.
	Name string
	// Package is the program's source, from the root of the repository.
	Package string
	// Tags are build tags, with commas between them.
	Tags string
	// Dockerfile makes the same image, from the root of the repository.
	Dockerfile string
	// Refs are the names under which the archive is loaded, at least one.
	Refs []reference.NamedTagged
	// Ports are those that the program listens on.
	Ports []int
	// Roots tells that the program talks HTTPS to servers of others.
	Roots bool
	// Labels are org.opencontainers.image's.
	Labels map[string]string
}

// User is a number, so that runAsNonRoot can be checked without /etc/passwd.
const User = "65532:65532"

const (
	labels = "org.opencontainers.image."
	source = "https://github.com/upcommerce/backout"
)

// Specs returns the images of the repository at root, named as its charts name them.
func Specs(root string) ([]Spec, error) {
	n, err := readNames(root)
	if err != nil {
		return nil, err
	}
	return []Spec{
		{
			Name: "backout", Package: ".", Tags: "nomsgpack", Dockerfile: "Dockerfile", Refs: n.backout, Ports: []int{8080, 9090}, Roots: true,
			Labels: map[string]string{
				labels + "title":       "backout",
				labels + "description": "Takes bad canaries out of the traffic and rolls their Helm releases back",
				labels + "source":      source,
				labels + "licenses":    "Apache-2.0",
				labels + "version":     n.version,
			},
		},
		{
			Name: "storefront", Package: "./app", Dockerfile: "app/Dockerfile", Refs: n.storefront, Ports: []int{5000},
			Labels: map[string]string{
				labels + "title":       "storefront",
				labels + "description": "The UpCommerce storefront, with faults to order",
				labels + "source":      source,
				labels + "licenses":    "Apache-2.0",
			},
		},
	}, nil
}
