package notify

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// TestCloudEventsFitTheirSchema checks events against the schema in docs/.
func TestCloudEventsFitTheirSchema(t *testing.T) {
	compiled, err := jsonschema.NewCompiler().Compile("../../docs/webhook.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(e any) error {
		body, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		return compiled.Validate(value)
	}
	for name, r := range reporttest.Records() {
		rep := report.Of(r, settings())
		for _, e := range rep.Timeline {
			if err := validate(newEvent(&rep, e)); err != nil {
				t.Errorf("%s: the event does not fit docs/webhook.schema.json: %v", name, err)
			}
		}
	}
	rep := report.Of(reporttest.Records()["storm"], settings())
	storm := report.OfStorm([]report.Report{rep}, settings())
	if err := validate(newEvent(&storm, storm.Timeline[0])); err != nil {
		t.Errorf("the event about a storm does not fit: %v", err)
	}
	bad := newEvent(&rep, rep.Timeline[0])
	bad.Type = "dev.backout.celebrated"
	if validate(bad) == nil {
		t.Error("the schema accepts a type that does not exist")
	}
}

// TestTheSchemaHasEveryWord compares the enums of the schema with the closed sets.
func TestTheSchemaHasEveryWord(t *testing.T) {
	type enum struct {
		Enum []string `json:"enum"`
	}
	var schema struct {
		Properties struct {
			Type enum `json:"type"`
		} `json:"properties"`
		Defs struct {
			Entry struct {
				Properties struct {
					Kind enum `json:"kind"`
				} `json:"properties"`
			} `json:"entry"`
			Report struct {
				Properties struct {
					State   enum `json:"state"`
					Verdict enum `json:"verdict"`
				} `json:"properties"`
			} `json:"report"`
		} `json:"$defs"`
	}
	readJSON(t, "../../docs/webhook.schema.json", &schema)
	var types []string
	for _, k := range words(report.EntryKinds()) {
		types = append(types, "dev.backout."+k)
	}
	for name, c := range map[string]struct{ got, want []string }{
		"types":       {schema.Properties.Type.Enum, types},
		"entry kinds": {schema.Defs.Entry.Properties.Kind.Enum, words(report.EntryKinds())},
		"states":      {schema.Defs.Report.Properties.State.Enum, words(report.States())},
		"verdicts":    {schema.Defs.Report.Properties.Verdict.Enum, words(rollback.Verdicts())},
	} {
		if strings.Join(c.got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%s of docs/webhook.schema.json:\n%v\nwant\n%v", name, c.got, c.want)
		}
	}
}

func words[W ~string](all []W) []string {
	texts := make([]string, len(all))
	for i, w := range all {
		texts[i] = string(w)
	}
	return texts
}

func TestWebhookIsSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type post struct{ signature, contentType, body string }
		var all []post
		receiver := http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
			body, _ := io.ReadAll(q.Body)
			all = append(all, post{q.Header.Get(SignatureHeader), q.Header.Get("Content-Type"), string(body)})
		})
		c := Config{WebhookURL: "https://hook.example/x", WebhookSecretFile: file(t, "s3cret")}
		n := newTestNotifier(t, c, &network{hosts: map[string]http.Handler{"hook.example": receiver}}, &memoryLedger{})
		n.start(t)
		begin := time.Now()
		n.ledger.put(t, actingSince(begin, reporttest.RolledBack))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		n.ledger.put(t, actingSince(begin, reporttest.Restored))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(all) != 4 {
			t.Fatalf("%d events, want signal, shed, rolled-back and weight-restored, each once", len(all))
		}
		seen := make(map[string]bool)
		for _, p := range all {
			if want := Sign([]byte("s3cret"), []byte(p.body)); p.signature != want {
				t.Errorf("signature %q of a body whose HMAC is %q", p.signature, want)
			}
			if p.contentType != "application/cloudevents+json; charset=utf-8" {
				t.Errorf("content type %q", p.contentType)
			}
			var e Event
			if err := json.Unmarshal([]byte(p.body), &e); err != nil || seen[e.ID] {
				t.Errorf("event %s: %v; each thing that happened has an ID of its own", e.ID, err)
			}
			seen[e.ID] = true
		}
	})
	// https://www.rfc-editor.org/rfc/rfc4231#section-4.3
	if got, want := Sign([]byte("Jefe"), []byte("what do ya want for nothing?")), "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"; got != want {
		t.Errorf("the signature is HMAC-SHA256: %s, want %s", got, want)
	}
}
