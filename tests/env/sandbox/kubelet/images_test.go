package kubelet

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRepositoryOfAnImage(t *testing.T) {
	for image, want := range map[string]string{
		"shop":                             "shop",
		"shop:v1":                          "shop",
		"example/shop:v1":                  "example/shop",
		"example.org:5000/shop":            "example.org:5000/shop",
		"example.org:5000/shop:v1":         "example.org:5000/shop",
		"example/shop:v1@sha256:0123":      "example/shop",
		"example.org:5000/shop@sha256:012": "example.org:5000/shop",
	} {
		if got := repositoryOf(image); got != want {
			t.Errorf("the repository of %s is %s, want %s", image, got, want)
		}
	}
}

func TestImagesHaveAProgramByRepository(t *testing.T) {
	images := Images{Programs: map[string]string{"example/shop": "/bin/shop"}, Unpullable: []string{"example/shop:v3"}}
	for _, image := range []string{"example/shop", "example/shop:v1", "example/shop:v2"} {
		if program, err := images.program(image); err != nil || program != "/bin/shop" {
			t.Errorf("%s: %q, %v; want /bin/shop with any tag", image, program, err)
		}
	}
	for image, hint := range map[string]bool{"example/shop:v3": false, "example/cart:v1": true} {
		_, err := images.program(image)
		if !errors.Is(err, errImage) || strings.Contains(err.Error(), "name a local executable") != hint {
			t.Errorf("%s: %v; want an errImage, with a hint: %t", image, err, hint)
		}
	}
}

func TestExpandReplacesKnownVariables(t *testing.T) {
	env := environment{"FRUIT": "plum", "EMPTY": ""}
	for text, want := range map[string]string{
		"":                     "",
		"no variable":          "no variable",
		"a $(FRUIT), $(FRUIT)": "a plum, plum",
		"[$(EMPTY)]":           "[]",
		"$(UNKNOWN) stays":     "$(UNKNOWN) stays",
		"$$(FRUIT) is not one": "$(FRUIT) is not one",
		"$$$(FRUIT)":           "$plum",
		"$FRUIT and $(FRUIT":   "$FRUIT and $(FRUIT",
		"it costs $5, $(FRUIT": "it costs $5, $(FRUIT",
	} {
		if got := expand(text, env); got != want {
			t.Errorf("%q expands to %q, want %q", text, got, want)
		}
	}
}

func TestBackOffDoublesUpToItsMaximum(t *testing.T) {
	d := delays{pace: BackOff{Initial: time.Second, Max: 5 * time.Second}}
	for i, want := range []time.Duration{0, 1, 2, 4, 5, 5} {
		if got := d.afterRun(time.Second); got != want*time.Second {
			t.Errorf("restart %d is after %s, want %s", i+1, got, want*time.Second)
		}
	}
	if got := d.afterRun(time.Minute); got != 0 {
		t.Errorf("a container that has lived long is restarted after %s, want at once", got)
	}
}
