package kubelet

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Images are the images that pods may use.
type Images struct {
	// Programs maps a repository, with any tag, to the absolute path of a local executable.
	Programs map[string]string
	// Unpullable are images, with their tags, that no registry has.
	Unpullable []string
}

// errImage is the cause of an ErrImagePull.
var errImage = errors.New("not found")

// program returns an image's executable. The error reads like a container runtime's, with a hint.
func (i Images) program(image string) (string, error) {
	program, known := i.Programs[repositoryOf(image)]
	unpullable := slices.Contains(i.Unpullable, image)
	if known && !unpullable {
		return program, nil
	}
	hint := ""
	if !unpullable {
		hint = " (name a local executable for " + repositoryOf(image) + " when the sandbox is opened)"
	}
	return "", fmt.Errorf("rpc error: code = NotFound desc = failed to pull and unpack image %q: failed to resolve reference %q: %s: %w%s",
		image, image, image, errImage, hint)
}

// image returns an image's executable.
func (k *Kubelet) image(name string) (string, error) {
	images, err := k.Images()
	if err != nil {
		return "", err
	}
	return images.program(name)
}

// repositoryOf returns an image without its tag and digest.
func repositoryOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndex(image, ":"); colon > strings.LastIndex(image, "/") {
		return image[:colon]
	}
	return image
}

// imageID returns a digest reference for an image's content, as a registry does.
func imageID(image, program string) string {
	sum := sha256.Sum256([]byte(image + "\n" + program))
	return repositoryOf(image) + "@sha256:" + hex.EncodeToString(sum[:])
}
