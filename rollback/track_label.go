package rollback

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Track is the label by which the pods of a canary are recognized. The zero Track is
// TrackLabel with the value TrackCanary.
type Track struct {
	Label string
	// Canary are the values that say so; any other one, such as baseline, is the stable
	// track's.
	Canary []string
}

// maxTrackValues bounds the values of a Track.
const maxTrackValues = 20

// ParseTrack reads a Track as LABEL=VALUE, with further values after commas, such as
// role=canary,preview. Its error says what is wrong with the label or a value.
func ParseTrack(text string) (Track, error) {
	label, values, found := strings.Cut(text, "=")
	t := Track{Label: strings.TrimSpace(label)}
	if !found {
		return Track{}, fmt.Errorf("%q: want LABEL=VALUE, such as role=canary,preview", text)
	}
	for value := range strings.SplitSeq(values, ",") {
		t.Canary = append(t.Canary, strings.TrimSpace(value))
	}
	return t, t.validate()
}

// validate returns every mistake in the label and the values.
func (t Track) validate() error {
	var errs []error
	if !isLabelKey(t.Label) {
		errs = append(errs, fmt.Errorf("%q is no name of a label: want one such as role or example.com/role", t.Label))
	}
	for i, value := range t.Canary {
		switch {
		case !isLabelValue(value):
			errs = append(errs, fmt.Errorf("%q is no value of a label: want LABEL=VALUE, such as role=canary,preview", value))
		case slices.Contains([]string{"stable", "primary", "baseline"}, value):
			errs = append(errs, fmt.Errorf("the value %s is the stable track's: name those of the canary", value))
		case slices.Contains(t.Canary[:i], value):
			errs = append(errs, fmt.Errorf("the value %s is listed twice", value))
		}
	}
	if len(t.Canary) > maxTrackValues {
		errs = append(errs, fmt.Errorf("%d values: want %d at most", len(t.Canary), maxTrackValues))
	}
	return errors.Join(errs...)
}

// EnvDecode reads the Track as ParseTrack does; "" is the default. go-envconfig calls it.
func (t *Track) EnvDecode(text string) (err error) {
	*t = Track{}
	if strings.TrimSpace(text) != "" {
		*t, err = ParseTrack(text)
	}
	return err
}

// String returns the Track as ParseTrack reads it.
func (t Track) String() string {
	return cmp.Or(t.Label, TrackLabel) + "=" + strings.Join(t.values(), ",")
}

// Option returns the Track as the flag --track-label of a command has it; "" for the default, which
// a command has without the flag.
func (t Track) Option() string {
	if text := t.String(); text != (Track{}).String() {
		return text
	}
	return ""
}

// isTrackOption reports whether s is the Option of a Track.
func isTrackOption(s string) bool {
	t, err := ParseTrack(s)
	return err == nil && t.Option() == s
}

func (t Track) values() []string {
	if len(t.Canary) == 0 {
		return []string{TrackCanary}
	}
	return t.Canary
}

// Of reports whether labels are those of a canary's pod, or a selector of such pods.
func (t Track) Of(labels map[string]string) bool {
	value, ok := labels[cmp.Or(t.Label, TrackLabel)]
	return ok && slices.Contains(t.values(), value)
}

// Names returns the words that name the canary, of a subset of Istio for example: canary, and the
// values of the label.
func (t Track) Names() []string {
	names := slices.DeleteFunc(slices.Clone(t.values()), func(name string) bool { return name == TrackCanary })
	return append(names, TrackCanary)
}

// Named reports whether that is one of Names.
func (t Track) Named(name string) bool { return slices.Contains(t.Names(), name) }

// labelled returns the label that makes the workload the canary's.
func (t Track) labelled(w Workload) sign {
	if !t.Of(w.PodLabels) {
		return sign{}
	}
	label := cmp.Or(t.Label, TrackLabel)
	return hasLabel(label, w.PodLabels[label])
}

func hasLabel(label, value string) sign {
	return sign{why: "its pods have the label " + label + "=" + value, by: map[string]string{label: value}}
}

// SelectedBy reports whether a selector chooses none but pods that have the labels which make
// the workload the canary's. It is false for a workload that no labels make so.
func (w Workload) SelectedBy(selector map[string]string) bool {
	return w.Canary && selects(w.By, selector)
}

// isLabelKey reports whether Kubernetes allows the name of a label: a name of at most 63
// characters, after a DNS prefix if it has a slash.
func isLabelKey(text string) bool {
	prefix, name, found := strings.Cut(text, "/")
	if !found {
		prefix, name = "", text
	}
	return isLabelValue(name) && (!found || isName(prefix))
}

// isLabelValue reports whether Kubernetes allows the text as a label's value, and it is not
// empty.
func isLabelValue(text string) bool { return len(text) <= 63 && labelPattern.MatchString(text) }

// labelPattern is the form of a label's value, and of its name without the prefix.
var labelPattern = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
