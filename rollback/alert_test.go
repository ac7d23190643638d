package rollback_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// goodAlert returns an alert about shop/shop-canary. with changes labels; it removes those
// with the value "-".
func goodAlert(with map[string]string) rollback.Alert {
	labels := map[string]string{
		"alertname": "CanaryErrors", "backout": "rollback", "namespace": "shop", "release": "shop-canary",
	}
	for name, value := range with {
		if labels[name] = value; value == "-" {
			delete(labels, name)
		}
	}
	return rollback.Alert{
		Labels: labels, Annotations: map[string]string{"summary": "half of the requests fail"},
		Fingerprint: "9c5d6a1e0b7f2d34", StartsAt: rollbacktest.Now().Add(-time.Minute),
	}
}

func TestLabelsOfAnAlertSelectReleaseAndLevel(t *testing.T) {
	alert := goodAlert(map[string]string{"revision": "7", "version": "v3", "cluster": "blue", "severity": "page"})
	key, got, err := alert.Read(rollbacktest.Now())
	if err != nil {
		t.Fatalf("an alert with valid labels is accepted: %v", err)
	}
	if want := (rollback.Key{Namespace: "shop", Release: "shop-canary"}); key != want {
		t.Errorf("the labels namespace and release select the release: got %s, want %s", key, want)
	}
	want := rollback.Signal{
		Alert: "CanaryErrors", Level: rollback.LevelRollback, Fingerprint: "9c5d6a1e0b7f2d34",
		Revision: 7, Version: "v3", Summary: "half of the requests fail",
		StartsAt: rollbacktest.Now().Add(-time.Minute), Received: rollbacktest.Now(), LastSeen: rollbacktest.Now(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the signal contains the labels, the summary and the times of the alert (-want +got):\n%s", diff)
	}
}

func TestOnlyHTTPLinksAreKeptWithoutAPassword(t *testing.T) {
	for given, want := range map[string]string{
		"https://prometheus/graph?g0.expr=up&g0.tab=1":    "https://prometheus/graph?g0.expr=up&g0.tab=1",
		"https://ann:secret@prometheus/graph":             "https://prometheus/graph",
		"javascript:alert(1)":                             "",
		"/graph":                                          "",
		"https://prometheus/\nnext":                       "",
		"https://prometheus/" + strings.Repeat("a", 3000): "",
	} {
		alert := goodAlert(nil)
		alert.GeneratorURL = given
		if _, got, err := alert.Read(rollbacktest.Now()); err != nil || got.Link != want {
			t.Errorf("a link is kept if an operator can follow it, without a password: %.60q became %q, want %q (%v)", given, got.Link, want, err)
		}
	}
}

func TestTimesOfAnAlertAreStoredInUTC(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	alert := goodAlert(nil)
	alert.StartsAt = alert.StartsAt.In(zone)
	alert.Resolved = true
	_, got, err := alert.Read(rollbacktest.Now().In(zone))
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]time.Time{
		"startsAt": got.StartsAt, "received": got.Received, "lastSeen": got.LastSeen, "resolved": got.Resolved,
	} {
		if at.Location() != time.UTC {
			t.Errorf("%s is stored in UTC, whatever zone the sender uses; got %s", name, at)
		}
	}
	if !got.Resolved.Equal(rollbacktest.Now()) {
		t.Errorf("an alert is resolved from the time of receipt: got %s, want %s", got.Resolved, rollbacktest.Now())
	}
}

func TestAnAlertWithoutTheBackoutLabelIsNotOurs(t *testing.T) {
	alert := goodAlert(map[string]string{"backout": "-", "namespace": "../etc"})
	if _, _, err := alert.Read(rollbacktest.Now()); !errors.Is(err, rollback.ErrNotOurs) {
		t.Errorf("an alert without the label backout is for another receiver, whatever its other labels are: got %v", err)
	}
}

// TestInvalidLabelsAreRefused lists values that name no release, level or revision. All of
// them are refused before backout sends a request to the API server.
func TestInvalidLabelsAreRefused(t *testing.T) {
	huge := strings.Repeat("a", 10<<20)
	for _, c := range []struct{ label, name, value string }{
		{"backout", "unknown level", "delete"},
		{"backout", "level in upper case", "Rollback"},
		{"backout", "level with a space", "rollback "},
		{"backout", "level with a Cyrillic o", "rоllback"},
		{"backout", "two levels", "shed,rollback"},
		{"backout", "no level", ""},
		{"backout", "10 MB", huge},
		{"namespace", "missing", "-"},
		{"namespace", "empty", ""},
		{"namespace", "parent directory", ".."},
		{"namespace", "path traversal", "../../kube-system"},
		{"namespace", "everything", "*"},
		{"namespace", "path", "shop/other"},
		{"namespace", "encoded slash", "shop%2Fother"},
		{"namespace", "trailing newline", "shop\n"},
		{"namespace", "newline", "shop\nkube-system"},
		{"namespace", "NUL", "shop\x00"},
		{"namespace", "terminal escape", "\x1b[2Jshop"},
		{"namespace", "Cyrillic о", "shоp"},
		{"namespace", "full-width letters", "ｓｈｏｐ"},
		{"namespace", "invalid UTF-8", "shop\xff"},
		{"namespace", "upper case", "Shop"},
		{"namespace", "selector", "shop,owner!=helm"},
		{"namespace", "dot", "shop.other"},
		{"namespace", "64 letters", strings.Repeat("a", 64)},
		{"namespace", "10 MB", huge},
		{"release", "missing", "-"},
		{"release", "empty", ""},
		{"release", "parent directory", ".."},
		{"release", "everything", "*"},
		{"release", "glob", "shop-*"},
		{"release", "path traversal", "../secrets"},
		{"release", "trailing newline", "shop\n"},
		{"release", "terminal escape", "shop\x1b]0;pwned\a"},
		{"release", "Greek omicron", "shοp"},
		{"release", "zero-width space", "shop\u200b"},
		{"release", "invalid UTF-8", "\xc3\x28"},
		{"release", "flag", "--all"},
		{"release", "two dots", "shop..canary"},
		{"release", "selector", "shop,owner=helm"},
		{"release", "54 letters", strings.Repeat("a", 54)},
		{"release", "10 MB", huge},
		{"revision", "word", "latest"},
		{"revision", "empty", ""},
		{"revision", "zero", "0"},
		{"revision", "negative", "-1"},
		{"revision", "fraction", "3.0"},
		{"revision", "float of a template", "3e+00"},
		{"revision", "Arabic digits", "٣"},
		{"revision", "beyond any integer", strings.Repeat("9", 40)},
		{"revision", "10 MB", huge},
	} {
		t.Run(c.label+"/"+c.name, func(t *testing.T) {
			key, signal, err := goodAlert(map[string]string{c.label: c.value}).Read(rollbacktest.Now())
			var refused *rollback.LabelError
			if !errors.As(err, &refused) {
				t.Fatalf("an invalid label is refused: got key %.100q, error %v", key, err)
			}
			if refused.Label != c.label {
				t.Errorf("the error names the invalid label: got %s, want %s", refused.Label, c.label)
			}
			if signal != (rollback.Signal{}) {
				t.Errorf("a refused alert yields no signal: got %+v", signal)
			}
			harmless(t, "the error", err.Error())
			if !strings.Contains(err.Error(), "correct the alert rule") {
				t.Errorf("the error ends in a hint: got %q", err)
			}
		})
	}
}

// TestTheKeyOfARefusedAlertIsSafeToLog exists because the caller logs the key that Read
// returns with an error.
func TestTheKeyOfARefusedAlertIsSafeToLog(t *testing.T) {
	for _, label := range []string{"namespace", "release"} {
		for _, level := range []string{"rollback", "nonsense"} {
			alert := goodAlert(map[string]string{"backout": level, label: "\x1b[2J\n" + strings.Repeat("a", 1<<20)})
			key, _, err := alert.Read(rollbacktest.Now())
			if err == nil {
				t.Fatalf("a hostile label %s is refused", label)
			}
			harmless(t, "the key with a hostile "+label+" and level "+level, key.String())
		}
	}
}

func TestTextsOfAnAlertAreBounded(t *testing.T) {
	hostile := "\x1b[31m\x9bA\r\nB\x00\x7f\xff\u202eC\u2028D" + strings.Repeat("é", 1<<20)
	alert := goodAlert(map[string]string{"alertname": hostile, "version": hostile})
	alert.Fingerprint = hostile
	alert.Annotations["summary"] = hostile
	_, got, err := alert.Read(rollbacktest.Now())
	if err != nil {
		t.Fatalf("texts that select nothing are bounded, not refused: %v", err)
	}
	for name, text := range map[string]string{
		"alert": got.Alert, "version": got.Version, "fingerprint": got.Fingerprint, "summary": got.Summary,
	} {
		harmless(t, name, text)
		if !strings.HasSuffix(text, "…") {
			t.Errorf("%s shows that it was cut off: got ...%q", name, text[len(text)-10:])
		}
	}
	if n := utf8.RuneCountInString(got.Summary); n != 300 {
		t.Errorf("a summary is cut at 300 runes: got %d", n)
	}
}

// harmless fails the test unless text is short, valid and free of characters that mislead a
// terminal, a log or a reader.
func harmless(t *testing.T, name, text string) {
	t.Helper()
	if len(text) > 2000 {
		t.Errorf("%s is bounded: got %d bytes", name, len(text))
	}
	if !utf8.ValidString(text) {
		t.Errorf("%s is valid UTF-8", name)
	}
	bad := func(r rune) bool {
		return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
	}
	if i := strings.IndexFunc(text, bad); i >= 0 {
		t.Errorf("%s has no control characters, line separators or changes of direction: got %q", name, text[i:min(i+20, len(text))])
	}
}

func TestAnEpisodeIsOneFiringOfOneLabelSet(t *testing.T) {
	first := rollback.Signal{Fingerprint: "f", StartsAt: rollbacktest.Now()}
	same := rollback.Signal{Fingerprint: "f", StartsAt: rollbacktest.Now().In(time.FixedZone("", 3600))}
	later := rollback.Signal{Fingerprint: "f", StartsAt: rollbacktest.Now().Add(time.Second)}
	other := rollback.Signal{Fingerprint: "g", StartsAt: rollbacktest.Now()}
	if first.Episode() != same.Episode() {
		t.Error("an episode is the same in every time zone")
	}
	if first.Episode() == later.Episode() {
		t.Error("the same alert firing again is another episode")
	}
	if first.Episode() == other.Episode() {
		t.Error("another label set is another episode")
	}
}
