package helm

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of a stored revision. The API server bounds only its packed size, to 1.5 MB: a
// gzip stream of that size can unpack to a gigabyte, and JSON of a few megabytes can
// decode to a hundred times its size.
const (
	// maxUnpacked bounds the JSON of a revision, in bytes. Helm stores at most 1 MiB, and
	// real manifests and charts are packed to a tenth.
	maxUnpacked = 32 << 20
	// maxValues bounds the objects, lists and members of that JSON. The manifest and every
	// file of the chart are one of them; the rest are mostly the chart's values.
	maxValues = 250_000
)

// errCorrupt says that a Secret has the labels of a revision but cannot be decoded within
// the bounds.
var errCorrupt = errors.New("it does not contain a Helm revision that backout can read")

// errTooLarge says that a bound is exceeded.
var errTooLarge = errors.New("too large")

// checkPacked returns the size of the JSON of a stored revision, in bytes. It returns
// errTooLarge if that exceeds a bound. It takes the same small amount of memory whatever
// the Secret contains.
func checkPacked(packed []byte) (int64, error) {
	text, err := unpacked(packed)
	if err != nil {
		return 0, err
	}
	var values valueCounter
	size, err := io.Copy(&values, io.LimitReader(text, maxUnpacked+1))
	switch {
	case errors.Is(err, errTooLarge):
		return 0, err
	case err != nil:
		return 0, fmt.Errorf("unpack it: %w", err)
	case size > maxUnpacked:
		return 0, fmt.Errorf("%w: it unpacks to more than %d MiB", errTooLarge, maxUnpacked>>20)
	}
	return size, nil
}

// unpacked returns the JSON of a stored revision, which Helm packs by gzip and then base64.
// Very old revisions are not zipped.
func unpacked(packed []byte) (io.Reader, error) {
	zipped := bufio.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(packed)))
	if magic, _ := zipped.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return zipped, nil
	}
	reader, err := gzip.NewReader(zipped)
	if err != nil {
		return nil, fmt.Errorf("unpack it: %w", err)
	}
	return reader, nil
}

// unpack returns the JSON of a stored revision, or errTooLarge.
func unpack(packed []byte) ([]byte, error) {
	size, err := checkPacked(packed)
	if err != nil {
		return nil, err
	}
	return unpackSized(packed, size)
}

// unpackSized is unpack for a stored revision whose size checkPacked has returned.
func unpackSized(packed []byte, size int64) ([]byte, error) {
	text, err := unpacked(packed)
	if err != nil {
		return nil, err
	}
	all := make([]byte, size)
	if _, err := io.ReadFull(text, all); err != nil {
		return nil, fmt.Errorf("unpack it: %w", err)
	}
	return all, nil
}

// decodePacked decodes a stored revision of that size as Helm does.
func decodePacked(packed []byte, size int64) (*release.Release, error) {
	text, err := unpackSized(packed, size)
	if err != nil {
		return nil, err
	}
	var stored release.Release
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, fmt.Errorf("decode it: %w", err)
	}
	return &stored, nil
}

// valueCounter counts the objects, lists and members in the JSON that is written to it. It
// does not check that it is JSON. Write returns errTooLarge once there are too many.
type valueCounter struct {
	values    int
	structure rollback.JSONStructure
}

func (v *valueCounter) Write(text []byte) (int, error) {
	for _, c := range text {
		if v.structure.Next(c) && (c == '{' || c == '[' || c == ',') {
			v.values++
		}
	}
	if v.values > maxValues {
		return 0, fmt.Errorf("%w: it has more than %d values", errTooLarge, maxValues)
	}
	return len(text), nil
}

// packLevel is the gzip level of pack. Helm uses the best compression, which takes three
// times as long and saves a twentieth.
const packLevel = 5

// packRoom is the size in bytes beyond which a revision could come too close to the
// limit of a Secret: pack then uses the best compression, as Helm did.
const packRoom = corev1.MaxSecretSize * 3 / 4

// pack is the reverse of unpack.
func pack(text []byte) ([]byte, error) {
	text64, err := compress(text, packLevel)
	if err == nil && len(text64) > packRoom {
		return compress(text, gzip.BestCompression)
	}
	return text64, err
}

// compress returns the text as Helm packs it, with a level of gzip.
func compress(text []byte, level int) ([]byte, error) {
	var zipped bytes.Buffer
	writer, err := gzip.NewWriterLevel(&zipped, level)
	if err != nil {
		return nil, err
	}
	if _, err := writer.Write(text); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return []byte(base64.StdEncoding.EncodeToString(zipped.Bytes())), nil
}
