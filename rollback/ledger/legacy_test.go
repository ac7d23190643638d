package ledger

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// read returns a file of testdata/legacy.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "legacy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// legacyNames returns the names of the records in testdata/legacy.
func legacyNames(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/legacy/*.old.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no records: %v", err)
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".old.yaml")
	}
	return files
}

// TestRecordsOfTheOldFormAreRead reads NAME.old.yaml in testdata/legacy, as earlier versions
// stored it, and compares the result with NAME.yaml, the current form. UPDATE=1 rewrites the
// latter.
func TestRecordsOfTheOldFormAreRead(t *testing.T) {
	for _, name := range legacyNames(t) {
		t.Run(name, func(t *testing.T) {
			old := read(t, name+".old.yaml")
			r := readStored(t, old)
			text, err := yaml.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "legacy", name+".yaml")
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(file, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(read(t, name+".yaml"), string(text)); diff != "" {
				t.Errorf("every field has its current name (-want +got):\n%s", diff)
			}
			want, got := values(t, old), values(t, string(text))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("no value is lost or made up (-old +current):\n%s", diff)
			}
		})
	}
}

// readStored stores the text in a ConfigMap and reads the record from there.
func readStored(t *testing.T, text string) rollback.Record {
	t.Helper()
	var k struct {
		rollback.Key `json:",inline"`

		Revision int `json:"revision"`
	}
	if err := yaml.Unmarshal([]byte(text), &k); err != nil {
		t.Fatal(err)
	}
	l := New(Options{Namespaces: []string{k.Namespace}, Client: fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: Name(k.Release, k.Revision)}, Data: map[string]string{recordKey: text},
	})})
	r, ok, err := l.Record(t.Context(), k.Key, k.Revision)
	if err != nil || !ok {
		t.Fatalf("a record of the old form is read: %t, %v", ok, err)
	}
	return r
}

// values returns every value of a document in order, whatever its field is called. Times are
// in the form in which records store them. Of the keys of timeline entries, only the part that
// keeps its name counts.
func values(t *testing.T, text string) []string {
	t.Helper()
	var document any
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	var all []string
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case nil:
		case map[string]any:
			for _, v := range value {
				walk(v)
			}
		case []any:
			for _, v := range value {
				walk(v)
			}
		case string:
			if at, err := time.Parse(time.RFC3339Nano, value); err == nil {
				value = at.Format(time.RFC3339Nano)
			}
			all = append(all, value)
		default:
			all = append(all, fmt.Sprint(value))
		}
	}
	walk(document)
	for i, value := range all {
		all[i] = withoutKind(value)
	}
	slices.Sort(all)
	return all
}

// withoutKind removes the words of a timeline entry's key that may change.
func withoutKind(value string) string {
	for _, word := range []string{
		"accused/", "raised/", "released/", "returned/", "nothing-left/", "unjudged", "failed/raise", // words:api accused
		"signal/", "weight-restored/", "hold-ended/", "shed-undone/", "closed/", "unverified", "failed/restore",
	} {
		if rest, ok := strings.CutPrefix(value, word); ok {
			return rest
		}
	}
	return value
}

// TestEveryFieldOfTheOldFormIsRead guards testdata/legacy/every_field.old.yaml, on which the
// other test relies.
func TestEveryFieldOfTheOldFormIsRead(t *testing.T) {
	r := readStored(t, read(t, "every_field.old.yaml"))
	r.Version, r.Unsigned = "set by the API server", true
	for _, field := range zeroFields("Record", reflect.ValueOf(r)) {
		t.Errorf("the old form of %s is read", field)
	}
}

// zeroFields returns the fields in v that have their zero value.
func zeroFields(path string, v reflect.Value) []string {
	var zero []string
	switch {
	case v.IsZero():
		return []string{path}
	case v.Type() == reflect.TypeFor[time.Time]():
	case v.Kind() == reflect.Struct:
		for field, value := range v.Fields() {
			zero = append(zero, zeroFields(path+"."+field.Name, value)...)
		}
	case v.Kind() == reflect.Pointer:
		return zeroFields(path, v.Elem())
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			zero = append(zero, zeroFields(path+"[]", v.Index(i))...)
		}
	case v.Kind() == reflect.Map:
		for _, value := range v.Seq2() {
			zero = append(zero, zeroFields(path+"[]", value)...)
		}
	}
	return zero
}

// TestRecordsOfTheCurrentFormAreUnchanged: an alert may contain any word.
func TestRecordsOfTheCurrentFormAreUnchanged(t *testing.T) {
	texts := map[string]string{
		"the old name in a text":               "signals:\n- summary: too many " + legacySignals + "\n",
		"a name that is old in another object": "signals: []\ndangers:\n- what: " + legacySignals + "\nowner:\n  weights: true\n",
	}
	for _, name := range legacyNames(t) {
		texts[name] = read(t, name+".yaml")
	}
	for name, text := range texts {
		got, err := upgrade(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(text, got); diff != "" {
			t.Errorf("%s: a record of the current form is not touched (-want +got):\n%s", name, diff)
		}
	}
}

func TestARecordOfTheOldFormIsStoredInTheCurrentOne(t *testing.T) {
	old := readStored(t, read(t, "held.old.yaml"))
	client := fake.NewClientset()
	old.Version = ""
	if _, err := New(Options{Client: client}).Save(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	cm, err := client.CoreV1().ConfigMaps("shop").Get(t.Context(), old.Name(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := cm.Data[recordKey]; got != read(t, "held.yaml") {
		t.Errorf("Save stores the current form: got\n%s", got)
	}
}
