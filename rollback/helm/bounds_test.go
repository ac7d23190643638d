package helm

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
)

// maxTaken bounds what reading one revision may allocate, in bytes: the pod's limit is
// 256 MiB.
const maxTaken = 32 << 20

// TestBombs: a Secret that decodes to far more than it has costs little, and is
// not taken for one that does not exist.
func TestBombs(t *testing.T) {
	for name, packed := range bombs(t) {
		t.Run(name, func(t *testing.T) {
			if len(packed) > corev1.MaxSecretSize {
				t.Fatalf("the Secret has %d bytes: the API server would refuse it", len(packed))
			}
			secrets := oneSecret{packed: packed}
			for via, from := range map[string]reader{
				"the store":     store{secrets: secrets, decoding: newDecoding()},
				"Helm's driver": driver.NewSecrets(newClaimingSecrets(secrets, "uid-5")),
			} {
				var err error
				taken := allocated(func() { _, err = read(t.Context(), from, objectName("web", 1), newDecoding()) })
				if !errors.Is(err, errCorrupt) || !errors.Is(err, errTooLarge) || !strings.Contains(err.Error(), objectName("web", 1)) {
					t.Errorf("by %s: a revision beyond the bounds is an error that names the Secret: got %v", via, err)
				}
				if taken > maxTaken {
					t.Errorf("by %s: it takes %d MiB of memory to find out, want at most %d", via, taken>>20, maxTaken>>20)
				}
			}
		})
	}
}

// bombs are packed revisions that exceed one bound each.
func bombs(t *testing.T) map[string][]byte {
	t.Helper()
	nodes := "---\napiVersion: v1\nkind: ConfigMap\nlist:\n" + strings.Repeat("- 1\n", maxDocumentNodes)
	anchor := "---\na: &a " + strings.Repeat("x", 100_000) + "\nb: [" + strings.Repeat("*a,", 10_000) + "]\n"
	laughs := "---\na0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := range 8 {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	hooked := aRelease(1, release.StatusDeployed)
	hooked.Hooks = []*release.Hook{{Name: "migrate", Manifest: anchor}}
	many := aRelease(1, release.StatusDeployed)
	many.Hooks = make([]*release.Hook, maxHooks+1)
	return map[string][]byte{
		"700 MiB of spaces":               manySpaces(t, 700),
		"a million empty files":           zip(t, strings.NewReader(`{"chart":{"templates":[{}`+strings.Repeat(",{}", 1_000_000)+`]}}`)),
		"a million values":                zip(t, strings.NewReader(`{"config":{"a":[1`+strings.Repeat(",1", 1_000_000)+`]}}`)),
		"too many documents":              packManifest(t, strings.Repeat("---\na: 1\n", maxDocuments+1)),
		"a document with too many nodes":  packManifest(t, nodes),
		"too many nodes in all documents": packManifest(t, strings.Repeat("---\n"+strings.Repeat("- 1\n", maxDocumentNodes/2), 2*maxNodes/maxDocumentNodes+1)),
		"too many real nodes":             packManifest(t, strings.Repeat("---\na: ["+strings.Repeat("{a: 1},", maxRealNodes/3/4)+"]\n", 5)),
		"a document that is too long":     packManifest(t, "a: "+strings.Repeat("x", maxDocument)),
		"aliases of a long text":          packManifest(t, anchor),
		"a billion laughs":                packManifest(t, laughs),
		"aliases in a hook":               packRelease(t, hooked),
		"too many hooks":                  packRelease(t, many),
	}
}

// TestTooMuchText: documents that are within the bounds each.
func TestTooMuchText(t *testing.T) {
	long := aRelease(1, release.StatusDeployed)
	long.Manifest = strings.Repeat("---\na: "+strings.Repeat("x", maxDocument-10)+"\n", maxManifests/maxDocument+1)
	if err := checkManifests(t.Context(), long, newDecoding()); !errors.Is(err, errTooLarge) {
		t.Errorf("a manifest of more than %d MiB is too large: got %v", maxManifests>>20, err)
	}
}

// TestDamagedRevisions: a revision on which the decoders or Helm itself would panic is an
// error.
func TestDamagedRevisions(t *testing.T) {
	empty := aRelease(1, release.StatusDeployed)
	empty.Hooks = []*release.Hook{nil}
	for name, packed := range map[string][]byte{
		"nothing":                    nil,
		"no base64":                  []byte("%%%"),
		"no JSON":                    []byte(base64.StdEncoding.EncodeToString([]byte("not a release"))),
		"half of a gzip stream":      packManifest(t, "a: 1")[:100],
		"no chart":                   zip(t, strings.NewReader(`{"info":{}}`)),
		"a hook that is null":        packRelease(t, empty),
		"an alias to itself":         packManifest(t, "a: &a [*a]\n"),
		"an alias without an anchor": packManifest(t, "a: &b 1\nb: [*b, *c]\n"),
	} {
		secrets := oneSecret{packed: packed}
		for via, from := range map[string]reader{
			"the store":     store{secrets: secrets, decoding: newDecoding()},
			"Helm's driver": driver.NewSecrets(newClaimingSecrets(secrets, "uid-5")),
		} {
			if stored, err := read(t.Context(), from, objectName("web", 1), newDecoding()); !errors.Is(err, errCorrupt) || errors.Is(err, errTooLarge) {
				t.Errorf("%s, by %s: it is damaged: got %v, %v", name, via, stored, err)
			}
		}
	}
}

// TestLargeRevisions: what real charts do is within the bounds.
func TestLargeRevisions(t *testing.T) {
	object := func(i int) string {
		return fmt.Sprintf("---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m%d\ndata:\n  text: |\n%s", i, strings.Repeat("    {\"a\": [1, 2], \"b\": \"x\"}\n", 200))
	}
	var objects strings.Builder
	for i := range 300 {
		objects.WriteString(object(i))
	}
	for name, manifest := range map[string]string{
		"300 objects of JSON":         objects.String(),
		"2,000 small objects":         strings.Repeat("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n", 2000),
		"an object of 1.5 MB of text": "a: |\n" + strings.Repeat("  some words of a long text\n", 55_000),
		"anchors and a script":        "base: &base {a: 1}\nb: {<<: *base, c: [*base]}\ns: |\n  a && *x &y *glob\n",
	} {
		secrets := oneSecret{packed: packManifest(t, manifest)}
		stored, err := read(t.Context(), store{secrets: secrets, decoding: newDecoding()}, objectName("web", 1), newDecoding())
		if err != nil || stored.Manifest != manifest {
			t.Errorf("%s: it is read as it is: got %v", name, err)
		}
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

// oneSecret returns the Secret of one revision under every name.
type oneSecret struct {
	typed.SecretInterface
	packed []byte
}

func (o oneSecret) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Secret, error) {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{releaseKey: o.packed}}, nil
}

func packManifest(t *testing.T, manifest string) []byte {
	t.Helper()
	r := aRelease(1, release.StatusDeployed)
	r.Manifest = manifest
	return packRelease(t, r)
}

func packRelease(t *testing.T, r *release.Release) []byte {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return zip(t, bytes.NewReader(text))
}

// zip packs a text as Helm does.
func zip(t *testing.T, text io.Reader) []byte {
	t.Helper()
	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	if _, err := io.Copy(writer, text); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(zipped.Bytes()))
}

// manySpaces packs so many MiB of spaces: a gzip stream can have any number of parts.
func manySpaces(t *testing.T, mebibytes int) []byte {
	t.Helper()
	part, err := base64.StdEncoding.DecodeString(string(zip(t, bytes.NewReader(bytes.Repeat([]byte(" "), 1<<20)))))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(bytes.Repeat(part, mebibytes)))
}
