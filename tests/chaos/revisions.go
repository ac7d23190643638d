package chaos

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Revision is what Helm stores about one, read without Helm.
type Revision struct {
	Number              int
	UID                 string
	Status, Description string
	Manifest            string
	Deployed            time.Time
}

// String returns, for example, "3 deployed (Rollback to 1)".
func (r Revision) String() string {
	return fmt.Sprintf("%d %s (%s)", r.Number, r.Status, r.Description)
}

// rollback reports whether a rollback wrote the revision, even one that failed.
func (r Revision) rollback() bool { return strings.HasPrefix(r.Description, "Rollback") }

// payload is the part of Helm's stored release that the rules need.
type payload struct {
	Manifest string `json:"manifest"`
	Info     struct {
		Status      string    `json:"status"`
		Description string    `json:"description"`
		Deployed    time.Time `json:"last_deployed"`
	} `json:"info"`
}

// revisions returns those of the release, oldest first.
func revisions(ctx context.Context, client kubernetes.Interface, namespace, release string) ([]Revision, error) {
	secrets, err := client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm,name=" + release})
	if err != nil {
		return nil, fmt.Errorf("list Helm's revisions: %w", err)
	}
	var all []Revision
	for i := range secrets.Items {
		s := &secrets.Items[i]
		var p payload
		text, err := unpack(s)
		if err == nil {
			err = json.Unmarshal(text, &p)
		}
		if err != nil {
			return nil, fmt.Errorf("decode %s: %w", s.Name, err)
		}
		number, err := strconv.Atoi(s.Labels["version"])
		if err != nil {
			return nil, fmt.Errorf("read the version of %s: %w", s.Name, err)
		}
		if label := s.Labels["status"]; label != p.Info.Status {
			return nil, fmt.Errorf("%s is %s by its label and %s by its text", s.Name, label, p.Info.Status)
		}
		all = append(all, Revision{
			Number: number, UID: string(s.UID), Status: p.Info.Status, Description: p.Info.Description,
			Manifest: p.Manifest, Deployed: p.Info.Deployed,
		})
	}
	slices.SortFunc(all, func(a, b Revision) int { return cmp.Compare(a.Number, b.Number) })
	return all, nil
}

// unpack returns the JSON of Helm's release in a Secret.
func unpack(s *corev1.Secret) ([]byte, error) {
	packed, err := base64.StdEncoding.DecodeString(string(s.Data["release"]))
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func pack(text []byte) ([]byte, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return []byte(base64.StdEncoding.EncodeToString(packed.Bytes())), nil
}

// shift moves the time at which Helm says that it deployed a revision, as if the
// clock of the machine that ran Helm were off.
func shift(ctx context.Context, client kubernetes.Interface, namespace, name string, by time.Duration) error {
	secret, err := client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("shift %s: %w", name, err)
	}
	text, err := unpack(secret)
	if err != nil {
		return fmt.Errorf("shift %s: %w", name, err)
	}
	var whole map[string]any
	if err := json.Unmarshal(text, &whole); err != nil {
		return fmt.Errorf("shift %s: %w", name, err)
	}
	info, _ := whole["info"].(map[string]any)
	said, _ := info["last_deployed"].(string)
	deployed, err := time.Parse(time.RFC3339Nano, said)
	if err != nil {
		return fmt.Errorf("shift %s: %w", name, err)
	}
	info["last_deployed"] = deployed.Add(by).Format(time.RFC3339Nano)
	if text, err = json.Marshal(whole); err == nil {
		secret.Data["release"], err = pack(text)
	}
	if err == nil {
		_, err = client.CoreV1().Secrets(namespace).Update(ctx, secret, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("shift %s: %w", name, err)
	}
	return nil
}
