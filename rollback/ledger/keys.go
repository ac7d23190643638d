package ledger

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Bounds of the Secret with the keys.
const (
	// currentKey is the entry whose key signs. Every entry's key is accepted.
	currentKey = "current"
	// minKey is the least length of a key, in bytes, and that of the one that backout makes.
	minKey = 32
	// maxKeys bounds how many keys are accepted, maxMissing how many IDs of others are
	// remembered: other clients can write signatures, too.
	maxKeys, maxMissing = 8, 1000
	// keyIDBytes is the length of a key's ID, which has two digits for each byte.
	keyIDBytes = 4
)

// Times of reading the Secret.
const (
	keysInterval = time.Minute
	// keysEarliest is how long after one read the next may follow, for a signature whose key
	// is not known.
	keysEarliest = time.Second
	keysLimit    = 3 * time.Second
	// maxKeyWaits is how often in keysInterval a signature waits for the next read. The others
	// are errors at once: else each invented one would cost a sweep a second.
	maxKeyWaits = 5
)

// Keys are the keys with which the replicas sign what they write into records. They are the
// entries of a Secret in backout's own namespace: the one named current signs, and all are
// accepted, so that one can replace another. It is safe for concurrent use.
type Keys struct {
	client          kubernetes.Interface
	namespace, name string
	log             *slog.Logger

	// reading is held during a read.
	reading sync.Mutex
	mu      sync.Mutex
	current string            // its ID; "" before the first read
	byID    map[string][]byte // by ID
	// read is when the Secret was read last.
	read time.Time
	// missing are the IDs that the Secret did not have since missingSince.
	missing      map[string]bool
	missingSince time.Time
	// waits is how many signatures have waited for a read since waitsSince.
	waits      int
	waitsSince time.Time
}

// NewKeys returns the keys in the Secret. It sends no request. log is slog.Default if nil.
func NewKeys(client kubernetes.Interface, namespace, name string, log *slog.Logger) *Keys {
	if log == nil {
		log = slog.Default()
	}
	return &Keys{client: client, namespace: namespace, name: name, log: log}
}

// Load reads the keys. If the Secret does not exist, it makes one with a random key. Its error
// names the Secret and what is wrong with it.
func (k *Keys) Load(ctx context.Context) error {
	k.reading.Lock()
	defer k.reading.Unlock()
	return k.load(ctx)
}

func (k *Keys) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keysLimit)
	defer cancel()
	k.mu.Lock()
	k.read = time.Now()
	k.mu.Unlock()
	secrets := k.client.CoreV1().Secrets(k.namespace)
	secret, err := secrets.Get(ctx, k.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if secret, err = secrets.Create(ctx, k.fresh(), metav1.CreateOptions{FieldManager: fieldManager}); apierrors.IsAlreadyExists(err) {
			secret, err = secrets.Get(ctx, k.name, metav1.GetOptions{}) // another replica was faster
		}
	}
	if err != nil {
		return fmt.Errorf("read the keys of records in Secret %s/%s: %w", k.namespace, k.name, err)
	}
	current, byID, err := parseKeys(secret.Data)
	if err != nil {
		return fmt.Errorf("the keys of records in Secret %s/%s: %w", k.namespace, k.name, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current != "" && k.current != current {
		k.log.InfoContext(ctx, "records are signed with another key now", "namespace", k.namespace, "reason", "Secret "+k.name+" has another current key, with the ID "+current)
	}
	if !maps.EqualFunc(k.byID, byID, bytes.Equal) {
		k.missing = nil
	}
	k.current, k.byID = current, byID
	return nil
}

// fresh returns a Secret with the keys that are known, or else with a random one.
func (k *Keys) fresh() *corev1.Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	data := make(map[string][]byte, len(k.byID))
	for id, key := range k.byID {
		entry := "key-" + id
		if id == k.current {
			entry = currentKey
		}
		data[entry] = key
	}
	if len(data) == 0 {
		key := make([]byte, minKey)
		_, _ = rand.Read(key) // never fails
		data[currentKey] = key
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: k.name, Namespace: k.namespace, Labels: map[string]string{managedLabel: managedValue}}, Data: data,
	}
}

func parseKeys(data map[string][]byte) (current string, byID map[string][]byte, err error) {
	if len(data) > maxKeys {
		return "", nil, fmt.Errorf("it has more than %d entries: remove those that no record needs", maxKeys)
	}
	byID = make(map[string][]byte, len(data))
	for _, entry := range slices.Sorted(maps.Keys(data)) {
		key := data[entry]
		if len(key) < minKey {
			return "", nil, fmt.Errorf("the entry %s has %d bytes: want at least %d random ones", entry, len(key), minKey)
		}
		byID[keyID(key)] = key
	}
	if data[currentKey] == nil {
		return "", nil, fmt.Errorf("it has no entry %s: the key that signs", currentKey)
	}
	return keyID(data[currentKey]), byID, nil
}

// keyID names a key without revealing it.
func keyID(key []byte) string {
	sum := sha256.Sum256(append([]byte("backout record key\n"), key...))
	return hex.EncodeToString(sum[:keyIDBytes])
}

// Run reads the keys once a minute, until ctx ends.
func (k *Keys) Run(ctx context.Context) error {
	ticker := time.NewTicker(keysInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := k.Load(ctx); err != nil && ctx.Err() == nil {
			k.log.ErrorContext(ctx, "the keys of records cannot be read; those that were read last stay valid", "error", err)
		}
	}
}

// errTooManyMissing says that a key was not looked for: others were, a moment ago.
var errTooManyMissing = errors.New("many records are signed with keys that do not exist; trying again later")

// errNoKey says that nothing can be signed yet.
var errNoKey = errors.New("the key that signs records has not been read yet")

// sign returns the signature of a text.
func (k *Keys) sign(text []byte) (string, error) {
	k.mu.Lock()
	id := k.current
	key := k.byID[id]
	k.mu.Unlock()
	if id == "" {
		return "", errNoKey
	}
	return signature(id, key, text), nil
}

// signature returns the ID of the key, a colon, and an HMAC of the text.
func signature(id string, key, text []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return id + ":" + base64.RawStdEncoding.EncodeToString(h.Sum(nil))
}

// verify reports whether one of the signatures is that of the text.
func (k *Keys) verify(text []byte, signatures []string) bool {
	k.mu.Lock()
	byID := k.byID // replaced as a whole, never changed
	k.mu.Unlock()
	for id, key := range byID {
		want := []byte(signature(id, key, text))
		for _, s := range signatures {
			if hmac.Equal([]byte(s), want) {
				return true
			}
		}
	}
	return false
}

// learn reads the keys if a signature is by one that is not known: another replica may have
// read a new key first. An ID that the Secret does not have is not looked for again for
// keysInterval. It reads at most once a second. A few signatures wait for that; it returns
// errTooManyMissing for further ones.
func (k *Keys) learn(ctx context.Context, signatures []string) error {
	if len(k.unknown(signatures)) == 0 {
		return nil
	}
	k.reading.Lock()
	defer k.reading.Unlock()
	if len(k.unknown(signatures)) == 0 {
		return nil
	}
	if err := k.waitToRead(ctx); err != nil {
		return err
	}
	if err := k.load(ctx); err != nil {
		return err
	}
	missing := k.unknown(signatures)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.missing == nil || len(k.missing)+len(missing) > maxMissing {
		k.missing, k.missingSince = make(map[string]bool), time.Now()
	}
	for _, id := range missing {
		k.missing[id] = true
	}
	return nil
}

// waitToRead waits until the last read was keysEarliest ago.
func (k *Keys) waitToRead(ctx context.Context) error {
	k.mu.Lock()
	wait := keysEarliest - time.Since(k.read)
	if time.Since(k.waitsSince) > keysInterval {
		k.waits, k.waitsSince = 0, time.Now()
	}
	if wait > 0 {
		k.waits++
	}
	waits := k.waits
	k.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	if waits > maxKeyWaits {
		return errTooManyMissing
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unknown returns the IDs of the signatures whose keys are neither known nor known to be
// missing, and that of no key at all before the first read. It leaves out texts that
// cannot be an ID.
func (k *Keys) unknown(signatures []string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.missingSince) > keysInterval {
		k.missing = nil
	}
	var unknown []string
	if k.current == "" {
		unknown = append(unknown, "")
	}
	for _, s := range signatures {
		if id, _, _ := strings.Cut(s, ":"); isKeyID(id) && k.byID[id] == nil && !k.missing[id] {
			unknown = append(unknown, id)
		}
	}
	return unknown
}

func isKeyID(text string) bool {
	id, err := hex.DecodeString(text)
	return err == nil && len(id) == keyIDBytes
}
