package ledger

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// maxTaken bounds what reading one record may allocate, in bytes.
const maxTaken = 48 << 20

// mebibyte is the size of the largest ConfigMap.
const mebibyte = 1 << 20

// recordHead is how a record of shop/web revision 3 begins.
const recordHead = "namespace: shop\nrelease: web\nrevision: 3\nuid: uid-3\n"

// bombRecords are texts of records that exceed a bound.
func bombRecords() map[string]string {
	laughs := "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := range 7 {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	return map[string]string{
		"a million empty entries of the old form": recordHead + legacySignals + ": [{}" + strings.Repeat(",{}", mebibyte/3-100) + "]\n",
		"a long text":                recordHead + "uid: " + strings.Repeat("x", maxRecord),
		"many empty signals":         recordHead + "signals: [{}" + strings.Repeat(",{}", maxNodes) + "]\n",
		"many entries of a timeline": recordHead + "notified: {slack: {entries: [a" + strings.Repeat(",a", maxNodes) + "]}}\n",
		"many empty decisions":       recordHead + "decisions:\n" + strings.Repeat("- {}\n", maxNodes),
		"a billion laughs":           recordHead + laughs,
		"an alias of a long text":    recordHead + "a: &a " + strings.Repeat("x", 100_000) + "\nb: [" + strings.Repeat("*a,", 1000) + "]\n",
	}
}

// TestBombRecords: a record beyond the bounds is an error that names the ConfigMap, and
// costs little.
func TestBombRecords(t *testing.T) {
	for name, text := range bombRecords() {
		t.Run(name, func(t *testing.T) {
			var err error
			taken := allocated(func() { _, _, err = new(Ledger).decode(t.Context(), configMapOf(text)) })
			if err == nil || !strings.Contains(err.Error(), "shop/backout.v1.web.v3") || !strings.Contains(err.Error(), "fix it or delete it") {
				t.Errorf("a record beyond the bounds names its ConfigMap: got %v", err)
			}
			if aliases := strings.Contains(text, "&a"); !aliases && !errors.Is(err, errTooLarge) {
				t.Errorf("a record beyond the bounds is too large: got %v", err)
			}
			if taken > maxTaken {
				t.Errorf("it takes %d MiB of memory to find out, want at most %d", taken>>20, maxTaken>>20)
			}
		})
	}
}

// TestTextsOfAlertsAreNoBombs: a record may be full of texts that look like YAML.
func TestTextsOfAlertsAreNoBombs(t *testing.T) {
	want := rollback.Record{Key: rollback.Key{Namespace: "shop", Release: "web"}, Revision: 3, UID: "uid-3"}
	for range 20 {
		want.Signals = append(want.Signals, rollback.Signal{
			Alert: "*a &a", Summary: strings.Repeat("[{:,", 75), Description: strings.Repeat("&a *a ", 100),
		})
	}
	cm, err := New(Options{}).encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := new(Ledger).decode(t.Context(), cm)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("it is read as it was stored: %v (-want +got):\n%s", err, diff)
	}
}

// TestRecordsBeyondTheBoundsAreNotWritten: nothing could read them.
func TestRecordsBeyondTheBoundsAreNotWritten(t *testing.T) {
	r := rollback.Record{Key: rollback.Key{Namespace: "shop", Release: "web"}, Revision: 3, Content: strings.Repeat("x", maxRecord)}
	if _, err := New(Options{}).encode(r); !errors.Is(err, errTooLarge) {
		t.Errorf("a record that could not be read again is not written: got %v", err)
	}
}

// TestShorten: a ConfigMap that is beyond the bounds takes little memory, and is beyond
// them afterwards.
func TestShorten(t *testing.T) {
	cm := configMapOf(strings.Repeat("x", mebibyte))
	cm.Data["other"] = strings.Repeat("y", mebibyte)
	cm.BinaryData = map[string][]byte{"more": make([]byte, mebibyte)}
	cm.Annotations = map[string]string{"note": strings.Repeat("z", mebibyte)}
	shorten(cm)
	if cm.Size() > 1000 {
		t.Errorf("nothing is kept of it but which record it is: got %d bytes", cm.Size())
	}
	if _, _, err := new(Ledger).decode(t.Context(), cm); !errors.Is(err, errTooLarge) {
		t.Errorf("a record that was too large stays so: got %v", err)
	}
}

// TestRecordsBeyondTheBoundsDoNotFillTheCache: they would leave no room for the others,
// which would then be read from the API server for each alert.
func TestRecordsBeyondTheBoundsDoNotFillTheCache(t *testing.T) {
	var c recordCache
	all := []*corev1.ConfigMap{}
	for i := range 2 * cacheSize / maxRecord {
		cm := configMapOf(strings.Repeat("x", maxRecord+1))
		cm.Name = fmt.Sprintf("backout.v1.web.v%d", i)
		all = append(all, cm)
	}
	other := configMapOf("namespace: shop\nrelease: api\nrevision: 1\n")
	other.Name, other.Labels = "backout.v1.api.v1", map[string]string{releaseLabel: "api"}
	c.replace("shop", append(all, other))
	if _, complete := c.get(rollback.Key{Namespace: "shop", Release: "api"}); !complete || c.size > maxRecord {
		t.Errorf("the record of another release is cached: got %t, with %d bytes in the cache", complete, c.size)
	}
	if _, complete := c.get(rollback.Key{Namespace: "shop", Release: "web"}); complete {
		t.Error("a record that cannot be read is cached as if it were read")
	}
}

// FuzzDecode: no text of a record makes decode panic or take much memory, and a record
// that is read is written in a form that is read again.
func FuzzDecode(f *testing.F) {
	for _, text := range bombRecords() {
		if len(text) < maxRecord {
			f.Add(text)
		}
	}
	f.Add(recordHead + "signals: []\ndecisions: []\n")
	f.Add(recordHead + "signals: [null]\nshed: {}\nhold: null\nnotified: {slack: null}\nowner: []\n")
	f.Add(recordHead + legacySignals + ": [{by: x}]\ngrounds: 1\nhold: []\nraise: {}\nweights: [1]\n")
	f.Add("a: &a [*a]\n")
	f.Add("\x00\xff---\n...")
	f.Fuzz(func(t *testing.T, text string) {
		r, _, err := new(Ledger).decode(t.Context(), configMapOf(text))
		if err != nil {
			return
		}
		cm, err := New(Options{}).encode(r)
		if err != nil {
			t.Fatalf("a record that was read cannot be written: %v", err)
		}
		if _, _, err := new(Ledger).decode(t.Context(), cm); err != nil {
			t.Fatalf("a record that was read and written cannot be read: %v", err)
		}
	})
}

// configMapOf returns the ConfigMap of the record of shop/web revision 3 with that text.
func configMapOf(text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "backout.v1.web.v3", ResourceVersion: "1", Labels: map[string]string{releaseLabel: "web"}},
		Data:       map[string]string{recordKey: text},
	}
}

// allocated returns the bytes that do allocates, also those that are free afterwards.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
