package helm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/upcommerce/backout/rollback"
)

// Recover marks the pending revision that an interrupted rollback of backout left behind
// as failed: without that, every helm upgrade reports that another operation is in
// progress. It returns rollback.ErrRevisionChanged, having written nothing, unless the
// stored revision is that one, still pending, and carries backout's claim. It does not
// change live objects.
func (c *Client) Recover(ctx context.Context, k rollback.Key, pending rollback.Revision) error {
	secrets, err := c.revisionsOf(ctx, k)
	var secret *corev1.Secret
	if err == nil {
		secret, err = secrets.Get(ctx, objectName(k.Release, pending.Number), metav1.GetOptions{})
	}
	if apierrors.IsNotFound(err) || errors.Is(err, rollback.ErrUnknownRelease) {
		return fmt.Errorf("recover revision %d of %s, which is gone: %w", pending.Number, k, rollback.ErrRevisionChanged)
	}
	if err != nil {
		return fmt.Errorf("read revision %d of %s: %w", pending.Number, k, err)
	}
	claim := secret.Annotations[claimAnnotation]
	if string(secret.UID) != pending.UID || secret.Labels["version"] != strconv.Itoa(pending.Number) ||
		!rollback.Status(secret.Labels["status"]).Pending() || claim == "" || claim != pending.Claim {
		return fmt.Errorf("recover revision %d of %s, which is not the one that backout left behind: %w", pending.Number, k, rollback.ErrRevisionChanged)
	}
	err = setStatus(secret, rollback.StatusFailed, func(description string) string {
		return description + " was interrupted; backout marked it as failed"
	})
	if err != nil {
		return fmt.Errorf("recover revision %d of %s: %w", pending.Number, k, err)
	}
	_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return fmt.Errorf("recover revision %d of %s, which another client wrote meanwhile: %w", pending.Number, k, rollback.ErrRevisionChanged)
	}
	if err != nil {
		return fmt.Errorf("recover revision %d of %s: %w", pending.Number, k, err)
	}
	return nil
}

// supersede marks the revision as superseded if it is deployed, and else leaves it as it
// is: a failed revision stays failed, where Helm would mark it as superseded too. A
// revision that cannot be read gets the status in its label, by which Helm finds it.
func (c *Client) supersede(ctx context.Context, k rollback.Key, revision int) error {
	secrets, err := c.revisionsOf(ctx, k)
	if err != nil {
		return fmt.Errorf("supersede revision %d of %s: %w", revision, k, err)
	}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		secret, err := secrets.Get(ctx, objectName(k.Release, revision), metav1.GetOptions{})
		if err != nil || secret.Labels["status"] != string(rollback.StatusDeployed) {
			return err
		}
		if err := setStatus(secret, rollback.StatusSuperseded, func(description string) string { return description }); err != nil {
			setStatusLabel(secret, rollback.StatusSuperseded)
		}
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
	if err != nil {
		return fmt.Errorf("supersede revision %d of %s: %w", revision, k, err)
	}
	return nil
}

// setStatus changes status and description of a stored revision, in its label and in the
// packed release, and nothing else: fields that this version of Helm does not know,
// because a newer one wrote them, stay.
func setStatus(secret *corev1.Secret, status rollback.Status, describe func(description string) string) error {
	text, err := unpack(secret.Data[releaseKey])
	if err != nil {
		return fmt.Errorf("unpack %s: %w", secret.Name, err)
	}
	var whole, info map[string]json.RawMessage
	var description string
	if err := json.Unmarshal(text, &whole); err != nil {
		return fmt.Errorf("decode %s: %w", secret.Name, err)
	}
	if err := json.Unmarshal(whole["info"], &info); err != nil {
		return fmt.Errorf("decode %s: %w", secret.Name, err)
	}
	if raw, ok := info["description"]; ok {
		if err := json.Unmarshal(raw, &description); err != nil {
			return fmt.Errorf("decode %s: %w", secret.Name, err)
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
	if secret.Data[releaseKey], err = pack(text); err != nil {
		return fmt.Errorf("pack %s: %w", secret.Name, err)
	}
	setStatusLabel(secret, status)
	return nil
}

func setStatusLabel(secret *corev1.Secret, status rollback.Status) {
	secret.Labels["status"] = string(status)
	secret.Labels["modifiedAt"] = strconv.FormatInt(time.Now().Unix(), 10)
}
