package ledger

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes/fake"
)

// loadedKeys returns keys that were read now, and how often their Secret was read since.
func loadedKeys(t *testing.T) (*Keys, func() int) {
	t.Helper()
	client := fake.NewClientset()
	k := NewKeys(client, "backout", "keys", nil)
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	client.ClearActions()
	return k, func() int { return len(client.Actions()) }
}

func invented(i int) []string { return []string{fmt.Sprintf("%08x:AAAA", i)} }

func TestAnInventedKeyIsLookedForAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, reads := loadedKeys(t)
		began := time.Now()
		if err := k.learn(t.Context(), invented(1)); err != nil || reads() != 1 {
			t.Errorf("another replica may have read a new key first: got %v, %d reads", err, reads())
		}
		if waited := time.Since(began); waited != keysEarliest {
			t.Errorf("the Secret is read at most once a second: read after %s", waited)
		}
		time.Sleep(keysInterval - time.Second)
		if err := k.Load(t.Context()); err != nil { // as Run does each minute
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		before := reads()
		if err := k.learn(t.Context(), invented(1)); err != nil || reads() != before+1 {
			t.Errorf("and is looked for again after a minute, whatever was read meanwhile: got %v, %d reads", err, reads()-before)
		}
	})
}

func TestATextThatIsNoIDOfAKeyIsNotLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, reads := loadedKeys(t)
		if err := k.learn(t.Context(), []string{"", "x", "zzzzzzzz:A", "0000000000:A", "000000:A", string(make([]byte, 4000))}); err != nil || reads() != 0 {
			t.Errorf("it can name no key: got %v, %d reads", err, reads())
		}
	})
}

// TestInventedKeysDelayNoSweep: each of 200 records names another one.
func TestInventedKeysDelayNoSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := loadedKeys(t)
		began := time.Now()
		for i := range 200 {
			_ = k.learn(t.Context(), invented(i))
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("a sweep has 30 s for all namespaces: these records took %s", took)
		}
	})
}

// TestInventedKeysHideNoNewKey: more than a replica remembers were named.
func TestInventedKeysHideNoNewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, reads := loadedKeys(t)
		k.missing, k.missingSince = make(map[string]bool), time.Now()
		for i := range maxMissing {
			k.missing[fmt.Sprintf("%08x", i)] = true
		}
		time.Sleep(2 * time.Second)
		if err := k.learn(t.Context(), invented(maxMissing)); err != nil || reads() != 1 {
			t.Errorf("a key that is not known is looked for: got %v, %d reads", err, reads())
		}
		if len(k.missing) > maxMissing {
			t.Errorf("%d IDs are remembered, want at most %d", len(k.missing), maxMissing)
		}
	})
}

func TestAWaitForAKeyEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := loadedKeys(t)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := k.learn(ctx, invented(1)); err == nil {
			t.Error("a wait that was cut off is an error: the record may be signed")
		}
	})
}
