package helm

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/upcommerce/backout/rollback"
)

// maxRelease bounds a stored revision once it is unpacked. Packed, the API
// server takes no more than 1.5 MB of it.
const maxRelease = 256 << 20

// Recover marks the pending revision as failed that a rollback of ours left
// behind: without that, every helm upgrade answers that another operation is in
// progress. It returns rollback.ErrMoved, having written nothing, unless the
// stored revision is that very one, still pending, and carries backout's claim.
// What is live it does not touch.
func (c *Client) Recover(ctx context.Context, k rollback.Key, pending rollback.Revision) error {
	secrets := c.clientset.CoreV1().Secrets(k.Namespace)
	secret, err := secrets.Get(ctx, secretName(k.Release, pending.Number), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("recover revision %d of %s, which is gone: %w", pending.Number, k, rollback.ErrMoved)
	}
	if err != nil {
		return fmt.Errorf("read revision %d of %s: %w", pending.Number, k, err)
	}
	claim := secret.Annotations[claimAnnotation]
	if string(secret.UID) != pending.UID || secret.Labels["version"] != strconv.Itoa(pending.Number) ||
		!rollback.Status(secret.Labels["status"]).Pending() || claim == "" || claim != pending.Claim {
		return fmt.Errorf("recover revision %d of %s, which is not what backout left behind: %w", pending.Number, k, rollback.ErrMoved)
	}
	err = restate(secret, rollback.StatusFailed, func(was string) string {
		return was + " was interrupted; backout marked it as failed"
	})
	if err != nil {
		return fmt.Errorf("recover revision %d of %s: %w", pending.Number, k, err)
	}
	_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return fmt.Errorf("recover revision %d of %s, which somebody else wrote meanwhile: %w", pending.Number, k, rollback.ErrMoved)
	}
	if err != nil {
		return fmt.Errorf("recover revision %d of %s: %w", pending.Number, k, err)
	}
	return nil
}

// supersede tells the revision that another one is deployed now. One that is not
// deployed is left as it is: a failed revision stays failed, where Helm would
// call it superseded as well.
func (c *Client) supersede(ctx context.Context, k rollback.Key, revision int) error {
	secrets := c.clientset.CoreV1().Secrets(k.Namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		secret, err := secrets.Get(ctx, secretName(k.Release, revision), metav1.GetOptions{})
		if err != nil || secret.Labels["status"] != string(rollback.StatusDeployed) {
			return err
		}
		if err := restate(secret, rollback.StatusSuperseded, func(was string) string { return was }); err != nil {
			return err
		}
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
	if err != nil {
		return fmt.Errorf("supersede revision %d of %s: %w", revision, k, err)
	}
	return nil
}

// restate changes status and description of a stored revision, in its label and
// in what is packed, and nothing else: what this Helm does not know of, because
// a newer one wrote it, stays.
func restate(secret *corev1.Secret, status rollback.Status, describe func(was string) string) error {
	text, err := unpack(secret.Data["release"])
	if err != nil {
		return fmt.Errorf("unpack Secret %s: %w", secret.Name, err)
	}
	var whole, info map[string]json.RawMessage
	var description string
	if err := json.Unmarshal(text, &whole); err != nil {
		return fmt.Errorf("decode Secret %s: %w", secret.Name, err)
	}
	if err := json.Unmarshal(whole["info"], &info); err != nil {
		return fmt.Errorf("decode Secret %s: %w", secret.Name, err)
	}
	if raw, ok := info["description"]; ok {
		if err := json.Unmarshal(raw, &description); err != nil {
			return fmt.Errorf("decode Secret %s: %w", secret.Name, err)
		}
	}
	for key, value := range map[string]string{"status": string(status), "description": describe(description)} {
		if info[key], err = json.Marshal(value); err != nil {
			return err
		}
	}
	if whole["info"], err = json.Marshal(info); err != nil {
		return err
	}
	if text, err = json.Marshal(whole); err != nil {
		return err
	}
	if secret.Data["release"], err = pack(text); err != nil {
		return fmt.Errorf("pack Secret %s: %w", secret.Name, err)
	}
	secret.Labels["status"] = string(status)
	secret.Labels["modifiedAt"] = strconv.FormatInt(time.Now().Unix(), 10)
	return nil
}

// unpack undoes what Helm does to a revision's JSON: gzip, then base64. Very old
// revisions are not zipped.
func unpack(packed []byte) ([]byte, error) {
	zipped, err := base64.StdEncoding.DecodeString(string(packed))
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(zipped, []byte{0x1f, 0x8b}) {
		return zipped, nil
	}
	reader, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(reader, maxRelease))
}

// packLevel is how hard pack compresses. Helm asks for the best compression, which
// takes three times as long and saves a twentieth.
const packLevel = 5

// packRoom is the size in bytes beyond which a revision could come too close to what
// a Secret may hold: there the best compression counts, as it did for Helm.
const packRoom = corev1.MaxSecretSize * 3 / 4

// pack undoes unpack.
func pack(text []byte) ([]byte, error) {
	text64, err := packed(text, packLevel)
	if err == nil && len(text64) > packRoom {
		return packed(text, gzip.BestCompression)
	}
	return text64, err
}

func packed(text []byte, level int) ([]byte, error) {
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
