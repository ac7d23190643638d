package ledger_test

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
)

const keysName = "backout-record-keys"

// newKeys returns the keys in the client's Secret, as read by a replica that starts.
func newKeys(t *testing.T, client kubernetes.Interface) *ledger.Keys {
	t.Helper()
	keys := ledger.NewKeys(client, "backout", keysName, nil)
	if err := keys.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return keys
}

// replica returns the ledger of a replica, which signs.
func signing(t *testing.T, client kubernetes.Interface) *ledger.Ledger {
	t.Helper()
	return ledger.New(ledger.Options{Client: client, Namespaces: []string{"shop"}, Own: "backout", Keys: newKeys(t, client)})
}

// command returns the ledger of a command, which does not.
func command(client kubernetes.Interface) *ledger.Ledger {
	return ledger.New(ledger.Options{Client: client, Namespaces: []string{"shop"}, Own: "backout"})
}

// worked returns an open record with every part that backout signs.
func worked() rollback.Record {
	step := func(s int) *rollback.Step {
		return &rollback.Step{Started: at().Add(time.Duration(s) * time.Second), Done: at().Add(time.Duration(s+1) * time.Second), Attempts: 1}
	}
	k := rollback.Key{Namespace: "shop", Release: "web"}
	return rollback.Record{
		Key: k, Revision: 7, UID: "uid-7", Content: "c7", Opened: at(),
		Signals: []rollback.Signal{{
			Alert: "CanaryErrorRatio", Level: rollback.LevelRollback, Fingerprint: "f1", StartsAt: at(), Received: at(), LastSeen: at(),
			Summary: "bytes that are no text: \xff\xfe, and some that are odd: \u2028 \x00 �",
		}},
		Decisions: []rollback.Decision{{
			Verdict: rollback.Act, Reason: "it fails", Shed: true, Rollback: true, Target: 5, At: at(), Command: k.HelmRollbackCommand(5),
		}},
		Preflight: step(1), PreflightTarget: 5, Dangers: []rollback.Danger{{Kind: rollback.DangerPVC, What: "it deletes a claim"}},
		Shed: step(2), Weights: []rollback.Weight{{Kind: "Ingress", Name: "web", From: "20", To: "0"}},
		Rollback: &rollback.Step{Started: at().Add(3 * time.Second)}, Target: 5,
		Notified: map[string]rollback.Notified{"slack": {Entries: []string{"signal/1"}, MessageID: "C1:1", At: at()}},
	}
}

// readBy returns the stored record as l reads it.
func readBy(t *testing.T, l *ledger.Ledger) rollback.Record {
	t.Helper()
	records, err := l.Records(t.Context(), rollback.Key{Namespace: "shop", Release: "web"}, rollback.Stored)
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v; want one", len(records), err)
	}
	return records[0]
}

// forge changes the stored record as a client does that may write ConfigMaps.
func forge(t *testing.T, client kubernetes.Interface, change func(*rollback.Record)) {
	t.Helper()
	maps := client.CoreV1().ConfigMaps("shop")
	cm, err := maps.Get(t.Context(), ledger.Name("web", 7), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var r rollback.Record
	if err := yaml.Unmarshal([]byte(cm.Data["record.yaml"]), &r); err != nil {
		t.Fatal(err)
	}
	change(&r)
	text, err := yaml.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	cm.Data["record.yaml"] = string(text)
	if _, err := maps.Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatAReplicaStoredIsWhatAnotherReads(t *testing.T) {
	client := versioned(fake.NewClientset())
	save(t, signing(t, client), worked())
	got := readBy(t, signing(t, client))
	want := worked()
	want = want.Printable()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(rollback.Record{}, "Signatures", "Version"), cmp.Comparer(sameCommand)); diff != "" {
		t.Errorf("nothing is lost between replicas (-stored +read):\n%s", diff)
	}
	if len(got.Signatures) != 2 {
		t.Errorf("%d signatures, want one for each part: %v", len(got.Signatures), got.Signatures)
	}
}

func sameCommand(a, b rollback.Command) bool { return a.String() == b.String() }

// Every client that may write ConfigMaps in a target can write every field of a record.
func TestAForgedPartOfARecordIsIgnored(t *testing.T) {
	work, shed := []string{"its alerts, decisions and steps"}, []string{"its shed"}
	both := slices.Concat(work, shed)
	tests := []struct {
		name    string
		change  func(*rollback.Record)
		ignored []string
	}{
		{"the level of an alert", func(r *rollback.Record) { r.Signals[0].Level = rollback.LevelShed }, work},
		{"an alert that is added", func(r *rollback.Record) {
			s := r.Signals[0]
			s.Fingerprint = "f2"
			r.Signals = append(r.Signals, s)
		}, work},
		{"an alert that is removed", func(r *rollback.Record) { r.Signals = nil }, work},
		{"an answer of Prometheus", func(r *rollback.Record) {
			r.Signals[0].Confirmation = &rollback.Confirmation{Answer: rollback.AnswerFiring}
		}, work},
		{"an alert that becomes an order", func(r *rollback.Record) { r.Signals[0].Operator = "ann" }, work},
		{"the target of a rollback", func(r *rollback.Record) { r.Target = 3 }, work},
		{"a rollback that is done", func(r *rollback.Record) { r.Rollback.Done, r.Made = at(), 8 }, work},
		{"a rollback that is removed", func(r *rollback.Record) { r.Rollback, r.Target = nil, 0 }, work},
		{"the result of the preflight", func(r *rollback.Record) { r.Dangers = nil }, work},
		{"the owner", func(r *rollback.Record) { r.Owner.Tool = "Flux" }, work},
		{"a decision", func(r *rollback.Record) { r.Decisions[0].Target = 3 }, work},
		{"a message", func(r *rollback.Record) { r.Notified["slack"] = rollback.Notified{MessageID: "C1:2"} }, work},
		{"the weights", func(r *rollback.Record) { r.Weights[0].From = "100" }, shed},
		{"the content that the record is about", func(r *rollback.Record) { r.Content = "c5" }, both},
		{"the revision that the record is about", func(r *rollback.Record) { r.UID = "uid-9" }, both},
		{"the time of the record", func(r *rollback.Record) { r.Opened = r.Opened.Add(time.Second) }, both},
		{"the signatures", func(r *rollback.Record) { r.Signatures = nil }, both},
	}
	gone := func(r rollback.Record, parts []string) bool {
		alerts := slices.ContainsFunc(r.Signals, func(s rollback.Signal) bool { return s.Operator == "" })
		noWork := !alerts && r.Rollback == nil && r.Target == 0 && r.Preflight == nil && r.PreflightTarget == 0 && len(r.Decisions) == 0 && r.Unsigned
		noShed := r.Shed == nil && r.Weights == nil
		return noWork == slices.Contains(parts, work[0]) && noShed == slices.Contains(parts, shed[0])
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := versioned(fake.NewClientset())
			l := signing(t, client)
			save(t, l, worked())
			forge(t, client, tt.change)
			got := readBy(t, l)
			if !slices.Equal(got.Ignored, tt.ignored) || !gone(got, tt.ignored) {
				t.Errorf("ignored %q, record %+v; want %q ignored, and no more", got.Ignored, got, tt.ignored)
			}
			stored, err := l.Save(t.Context(), got)
			if err != nil {
				t.Fatal(err)
			}
			if again := readBy(t, l); !slices.Equal(again.Ignored, tt.ignored) || !gone(again, tt.ignored) {
				t.Errorf("after %+v was stored: %+v; want the record to say what was ignored, and nothing signed that was not", stored, again)
			}
		})
	}
}

// A part that is signed in one record counts in no other.
func TestASignatureCountsInItsRecordAlone(t *testing.T) {
	client := versioned(fake.NewClientset())
	l := signing(t, client)
	save(t, l, worked())
	other := readBy(t, l)
	other.Revision, other.UID, other.Version = 8, "uid-8", ""
	save(t, command(client), other)
	got, ok, err := l.Record(t.Context(), other.Key, 8)
	if err != nil || !ok || len(got.Parts()) != 0 {
		t.Errorf("record of revision 8: %+v, %t, %v; want every part ignored", got, ok, err)
	}
}

// The commands hold and unhold change a record without a key.
func TestAnOperatorsCommandLeavesTheOtherPartsSigned(t *testing.T) {
	client := versioned(fake.NewClientset())
	l := signing(t, client)
	save(t, l, worked())
	c := command(client)
	r := readBy(t, c)
	order := rollback.OrderedHold(r.Key, "ann", at())
	r.Hold = &rollback.Hold{Since: at()}
	r.Decide(order)
	r.Signals = append(r.Signals, rollback.Signal{Alert: "hold", Operator: "ann", Level: rollback.LevelShed, Fingerprint: "manual", StartsAt: at(), Received: at(), LastSeen: at()})
	save(t, c, r)
	got := readBy(t, l)
	if len(got.Ignored) != 0 || got.Rollback == nil || got.Shed == nil || len(got.Signals) != 2 || !got.Hold.Active() || got.Decision().Operator != "ann" {
		t.Errorf("%+v; want every part of backout and the operator's hold", got)
	}
	save(t, l, got)
	if again := readBy(t, l); len(again.Signatures) != 2 {
		t.Errorf("%d signatures, want 2: parts that name an operator are not signed", len(again.Signatures))
	}
}

// A part that names an operator is not verified, so it says no more than an order can.
func TestAForgedOrderSaysNoMoreThanAnOrderCan(t *testing.T) {
	client := versioned(fake.NewClientset())
	l := signing(t, client)
	save(t, l, worked())
	forge(t, client, func(r *rollback.Record) {
		r.Decisions = append(r.Decisions, rollback.Decision{
			Verdict: rollback.Act, Operator: "ann", Shed: true, Rollback: true, Target: 1, Waits: true, Command: r.Key.HelmRollbackCommand(1), Reason: "trust me",
		})
		r.Shed, r.Weights = &rollback.Step{Operator: "ann", Started: at(), Attempts: 3, Error: "failed", Next: at()}, nil
	})
	got := readBy(t, l)
	d := got.Decision()
	if d.Shed || d.Rollback || d.Target != 0 || !d.Hold || d.Command.String() != "backout unhold shop/web" || strings.Contains(d.Reason, "trust") {
		t.Errorf("decision %+v; want an operator's hold and nothing else", d)
	}
	if got.Rollback == nil || got.Shed.Tried() || got.ShedDue() {
		t.Errorf("shed %+v; want one that backout neither takes for tried nor does", got.Shed)
	}
}

// A key that is replaced stays valid as long as it is in the Secret.
func TestKeysAreReplacedWithAnOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := versioned(fake.NewClientset())
		l := signing(t, client)
		save(t, l, worked())
		secrets := client.CoreV1().Secrets("backout")
		rotate := func(change func(map[string][]byte)) {
			secret, err := secrets.Get(t.Context(), keysName, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			change(secret.Data)
			if _, err := secrets.Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		rotate(func(keys map[string][]byte) {
			keys["previous"], keys["current"] = keys["current"], bytes.Repeat([]byte("n"), 32)
		})
		renewed := signing(t, client)
		r := readBy(t, renewed)
		if len(r.Ignored) != 0 {
			t.Errorf("ignored %q of a record that the previous key signed", r.Ignored)
		}
		save(t, renewed, r)
		if r := readBy(t, l); len(r.Ignored) != 0 {
			t.Errorf("the replica that has not read the new key yet ignored %q", r.Ignored)
		}
		rotate(func(keys map[string][]byte) { delete(keys, "previous") })
		if r := readBy(t, signing(t, client)); len(r.Ignored) != 0 {
			t.Errorf("ignored %q of a record that was stored with the new key", r.Ignored)
		}
		rotate(func(keys map[string][]byte) { keys["current"] = bytes.Repeat([]byte("o"), 32) })
		if r := readBy(t, signing(t, client)); len(r.Parts()) != 0 {
			t.Errorf("%+v; want nothing believed that a removed key signed", r)
		}
	})
}

// The Secret is deleted while backout runs.
func TestALostSecretIsMadeAgainOfTheKnownKeys(t *testing.T) {
	client := versioned(fake.NewClientset())
	keys := newKeys(t, client)
	l := ledger.New(ledger.Options{Client: client, Namespaces: []string{"shop"}, Own: "backout", Keys: keys})
	save(t, l, worked())
	if err := client.CoreV1().Secrets("backout").Delete(t.Context(), keysName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := keys.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, reader := range map[string]*ledger.Ledger{"the replica that made it": l, "one that starts": signing(t, client)} {
		if r := readBy(t, reader); len(r.Ignored) != 0 {
			t.Errorf("%s ignores %q", name, r.Ignored)
		}
	}
}

// A record can name keys that do not exist: each is looked for once a minute.
func TestAKeyThatDoesNotExistIsNotLookedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := versioned(fake.NewClientset())
		l := signing(t, client)
		save(t, l, worked())
		forge(t, client, func(r *rollback.Record) { r.Signatures = []string{"00000000:AAAA"} })
		reads := func() (n int) {
			for _, a := range client.Actions() {
				if a.Matches("get", "secrets") {
					n++
				}
			}
			return n
		}
		before := reads()
		for range 10 {
			if r := readBy(t, l); len(r.Parts()) != 0 {
				t.Fatalf("%+v; want every part ignored", r)
			}
		}
		if n := reads() - before; n != 1 {
			t.Errorf("the Secret was read %d times for ten reads of the record, want once", n)
		}
	})
}

func TestReplicasThatStartTogetherAgreeOnAKey(t *testing.T) {
	client := versioned(fake.NewClientset())
	save(t, signing(t, client), worked())
	if r := readBy(t, signing(t, client)); len(r.Ignored) != 0 {
		t.Errorf("ignored %q: the second replica made a key of its own", r.Ignored)
	}
}

func TestKeysThatCannotBeUsedAreRefused(t *testing.T) {
	long := bytes.Repeat([]byte("k"), 32)
	for name, tt := range map[string]struct {
		data map[string][]byte
		want string
	}{
		"short":      {map[string][]byte{"current": []byte("secret")}, "the entry current has 6 bytes: want at least 32 random ones"},
		"no current": {map[string][]byte{"next": long}, "it has no entry current"},
		"too many": {map[string][]byte{
			"current": long, "a": long, "b": long, "c": long, "d": long, "e": long, "f": long, "g": long, "h": long,
		}, "more than 8 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: keysName, Namespace: "backout"}, Data: tt.data}
			err := ledger.NewKeys(fake.NewClientset(secret), "backout", keysName, nil).Load(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "Secret backout/"+keysName) {
				t.Errorf("got %v; want the Secret and %q", err, tt.want)
			}
		})
	}
}

// Before the keys are known, nothing is stored that another replica would ignore.
func TestNothingIsStoredWithoutAKey(t *testing.T) {
	client := versioned(fake.NewClientset())
	l := ledger.New(ledger.Options{Client: client, Keys: ledger.NewKeys(client, "backout", keysName, nil)})
	if _, err := l.Save(t.Context(), worked()); err == nil || !strings.Contains(err.Error(), "has not been read yet") {
		t.Errorf("Save returned %v, want an error about the key", err)
	}
}

// A record may have any number of signatures, and each of them costs.
func TestAFewSignaturesOfARecordAreRead(t *testing.T) {
	client := versioned(fake.NewClientset())
	l := signing(t, client)
	save(t, l, worked())
	forge(t, client, func(r *rollback.Record) { r.Signatures = append(slices.Repeat([]string{"x:y"}, 2), r.Signatures...) })
	if got := readBy(t, l); len(got.Ignored) != 0 {
		t.Errorf("ignored %q of a record with four signatures", got.Ignored)
	}
	forge(t, client, func(r *rollback.Record) { r.Signatures = append(slices.Repeat([]string{"x:y"}, 2), r.Signatures...) })
	if got := readBy(t, l); len(got.Ignored) != 2 {
		t.Errorf("ignored %q; want those parts ignored whose signatures are the fifth and the sixth", got.Ignored)
	}
}

// FuzzSignedRecord stores alerts with arbitrary texts and reads them.
func FuzzSignedRecord(f *testing.F) {
	f.Add("CanaryErrorRatio", "12 percent", "7")
	f.Add("\xff", "\u2028\x85\r\n\t", "'\"#: |\n  - {}")
	f.Add("~", "2026-11-30T00:00:00Z", "0x1F")
	f.Fuzz(func(t *testing.T, name, summary, version string) {
		client := versioned(fake.NewClientset())
		l := signing(t, client)
		r := worked()
		r.Signals[0].Alert, r.Signals[0].Summary, r.Signals[0].Version = name, summary, version
		r.Decisions[0].Reason, r.Shed.Note = summary, name
		if _, err := l.Save(t.Context(), r); err != nil {
			t.Fatalf("a record with any texts is stored, within their bounds: %v", err)
		}
		if got := readBy(t, l); len(got.Ignored) != 0 {
			t.Errorf("ignored %q of a record that was not changed", got.Ignored)
		}
	})
}

// A part that has a field more is signed with it: reflection finds the fields.
func TestEveryFieldThatBackoutWritesIsSigned(t *testing.T) {
	unsigned := []string{"Hold", "Manual", "Closed", "DroppedSignals", "Obstacle", "Leftover", "StrayRoutes", "Panics", "Trace", "Signatures", "Ignored", "Unsigned", "Version", "Key"}
	for field := range reflect.TypeFor[rollback.Record]().Fields() {
		if slices.Contains(unsigned, field.Name) {
			continue
		}
		var r rollback.Record
		n := 0
		fill(reflect.ValueOf(&r).Elem(), &n)
		for i := range r.Signals {
			r.Signals[i].Operator = ""
		}
		for i := range r.Decisions {
			r.Decisions[i].Operator = ""
		}
		r.Shed.Operator, r.Unsigned = "", false
		before := r.Parts()
		value := reflect.ValueOf(&r).Elem().FieldByIndex(field.Index)
		value.Set(reflect.Zero(value.Type()))
		if cmp.Equal(before, r.Parts(), cmp.Exporter(func(reflect.Type) bool { return true })) {
			t.Errorf("Record.%s is part of no signature", field.Name)
		}
	}
}

// Records are listed by a label, which another client can set on the record of another release.
func TestARecordIsReadForItsOwnReleaseAlone(t *testing.T) {
	client := versioned(fake.NewClientset())
	l := signing(t, client)
	save(t, l, worked())
	maps := client.CoreV1().ConfigMaps("shop")
	cm, err := maps.Get(t.Context(), ledger.Name("web", 7), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cm.Labels["backout.dev/release"] = "other"
	if _, err := maps.Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	records, err := l.Records(t.Context(), rollback.Key{Namespace: "shop", Release: "other"}, rollback.Stored)
	if err != nil || len(records) != 0 {
		t.Errorf("%d records of shop/other, %v; want none: it is that of shop/web", len(records), err)
	}
}

// A command for an operator contains the label of a record: another client chooses none.
func TestARecordThatIsNotSignedHasTheLabelOfTheRunningBackout(t *testing.T) {
	client := versioned(fake.NewClientset())
	l := ledger.New(ledger.Options{Client: client, Namespaces: []string{"shop"}, Own: "backout", Keys: newKeys(t, client), TrackLabel: "role=next"})
	own := worked()
	own.TrackLabel = "role=canary"
	save(t, l, own)
	if r := readBy(t, l); r.TrackLabel != "role=canary" || r.Unsigned {
		t.Errorf("label %q, unsigned %t; want the one that was signed", r.TrackLabel, r.Unsigned)
	}
	forge(t, client, func(r *rollback.Record) { r.TrackLabel = "app=shop" })
	if r := readBy(t, l); r.TrackLabel != "role=next" || r.Rollback != nil || r.Shed != nil {
		t.Errorf("label %q, rollback %+v; want the running backout's, and nothing that was signed with another one", r.TrackLabel, r.Rollback)
	}
	forge(t, client, func(r *rollback.Record) {
		*r = rollback.Record{Key: r.Key, Revision: r.Revision, UID: r.UID, TrackLabel: "app=shop"}
	})
	if r := readBy(t, l); r.TrackLabel != "role=next" {
		t.Errorf("label %q of a record without anything of backout; want the running backout's", r.TrackLabel)
	}
}
