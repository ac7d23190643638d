package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/distribution/reference"
	"sigs.k8s.io/yaml"
)

// next is the tag of the UpCommerce exercise's next canary, after those in the chart's values.
const next = "v3"

// names are the names of the images in the charts.
type names struct {
	version    string // of backout
	backout    []reference.NamedTagged
	storefront []reference.NamedTagged
}

type chartFile struct {
	AppVersion string `json:"appVersion"`
}

type valuesFile struct {
	Image  chartImage `json:"image"`
	Canary struct {
		Image chartImage `json:"image"`
	} `json:"canary"`
}

type chartImage struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
}

// readNames reads the charts. One storefront serves every version, so it has several tags: those of the chart's two tracks, and the next.
func readNames(root string) (names, error) {
	var chart chartFile
	var receiver, shop, ours valuesFile
	for path, into := range map[string]any{
		"backout/Chart.yaml":                 &chart,
		"backout/values.yaml":                &receiver,
		"canary-demo/values.yaml":            &shop,
		"canary-demo/values-storefront.yaml": &ours,
	} {
		if err := readYAML(filepath.Join(root, "charts", path), into); err != nil {
			return names{}, err
		}
	}
	n := names{version: chart.AppVersion}
	var err error
	if n.backout, err = tags(receiver.Image.Repository, chart.AppVersion); err != nil {
		return names{}, fmt.Errorf("name the image as charts/backout does: %w", err)
	}
	if n.storefront, err = tags(ours.Image.Repository, shop.Image.Tag, shop.Canary.Image.Tag, next); err != nil {
		return names{}, fmt.Errorf("name the image as charts/canary-demo does: %w", err)
	}
	return n, nil
}

// tags returns full names, as containerd and the kubelet use them: docker.io/library/backout:0.1.0.
func tags(repository string, all ...string) ([]reference.NamedTagged, error) {
	named, err := reference.ParseNormalizedNamed(repository)
	if err != nil {
		return nil, fmt.Errorf("read image.repository %q: %w", repository, err)
	}
	var found []reference.NamedTagged
	for _, tag := range all {
		ref, err := reference.WithTag(named, tag)
		if err != nil {
			return nil, fmt.Errorf("read tag %q: %w", tag, err)
		}
		found = append(found, ref)
	}
	return found, nil
}

func readYAML(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w; set -root to the root of the repository", err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
