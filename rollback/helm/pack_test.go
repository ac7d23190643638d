package helm

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestPack: a revision that Helm could store can be stored again.
func TestPack(t *testing.T) {
	for size, best := range map[int]bool{100_000: false, 2_000_000: true} {
		dice, text := rand.New(rand.NewPCG(1, 2)), []byte(nil)
		for len(text) < size {
			text = fmt.Appendf(text, "label-%x ", dice.IntN(1<<24))
		}
		got, err := pack(text)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := unpack(got); err != nil || !bytes.Equal(back, text) {
			t.Errorf("unpack is the reverse of pack: %v", err)
		}
		helms, err := compress(text, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if as := len(got) == len(helms); as != best {
			t.Errorf("%d bytes become %d, and %d with Helm's compression, which only a large revision gets", size, len(got), len(helms))
		}
	}
}
