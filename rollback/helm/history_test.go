package helm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
)

func TestHistory(t *testing.T) {
	c := newCluster(t)
	got, err := c.History(t.Context(), web(), rollback.Stored)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got {
		number := 3 - i
		want := rollback.Revision{
			Number: number, UID: string(c.object(t, "secrets/"+secretName(number)).GetUID()),
			Status: map[int]rollback.Status{1: "superseded", 2: "superseded", 3: "deployed"}[number], Description: "Upgrade complete",
			Chart: "web-chart", Deployed: time.Date(2026, 11, 27, 12, number, 0, 0, time.UTC),
			Content: r.Content, Versions: []string{fmt.Sprintf("v%d", number)},
			Canary: "Deployment web-canary: its pods have the label track=canary",
			Images: []string{fmt.Sprintf("registry:5000/web:v%d", number)}, Pods: r.Pods,
		}
		if diff := cmp.Diff(want, r); diff != "" || r.Content == "" || len(r.Pods) != 1 {
			t.Errorf("the history has the revisions as Helm stored them, the newest first (-want +got):\n%s", diff)
		}
	}
	if len(got) != 3 || got[0].Content == got[1].Content {
		t.Errorf("three revisions have three contents: got %v", got)
	}

	clear(c.reads)
	if _, err := c.History(t.Context(), web(), rollback.Stored); err != nil || len(c.reads) != 0 {
		t.Errorf("unchanged revisions are not read again: %v, %v", c.reads, err)
	}
	c.revision(t, 4, release.StatusPendingUpgrade, manifest("v3", "50"))
	got, err = c.History(t.Context(), web(), rollback.Stored)
	if err != nil || got.Newest().Status != rollback.StatusPendingUpgrade || len(c.reads) != 1 {
		t.Errorf("only new revisions are read, pending ones too: got %v, %v, %v", got, c.reads, err)
	}
	if got[0].Content != got[1].Content {
		t.Error("the revisions of a ramp have one content")
	}
}

// TestTargetIsAnotherCanary: revision 5 is the bad v3 of revision 4, with another text that
// only the stable track reads.
func TestTargetIsAnotherCanary(t *testing.T) {
	const cm = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: web-stable}\ndata: {banner: %s}\n"
	const stable = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: w, image: 'web:v1', envFrom: [{configMapRef: {name: web-stable}}]}]}}}\n"
	with := func(v, text string) string { return manifest(v, "20") + stable + strings.Replace(cm, "%s", text, 1) }
	c := newCluster(t)
	c.revision(t, 4, release.StatusSuperseded, with("v3", "hello"))
	c.revision(t, 5, release.StatusDeployed, with("v3", "bye"))
	history, err := c.History(t.Context(), web(), rollback.Stored)
	if err != nil {
		t.Fatal(err)
	}
	// Revision 3 is v3 as well.
	if target, candidates, ok := rollback.Target(history, nil); !ok || target.Number != 2 {
		t.Errorf("the way back from a canary is to another canary: got revision %d, %+v", target.Number, candidates)
	}
}

func TestHistoryErrors(t *testing.T) {
	t.Run("no release", func(t *testing.T) {
		c := newCluster(t)
		for _, release := range []string{"nothing", "we"} {
			if _, err := c.History(t.Context(), rollback.Key{Namespace: "shop", Release: release}, rollback.Stored); !errors.Is(err, rollback.ErrUnknownRelease) {
				t.Errorf("a release that Helm does not know is unknown: got %v", err)
			}
		}
	})
	t.Run("a revision that cannot be decoded", func(t *testing.T) {
		c := newCluster(t)
		c.corrupt(2)
		got, err := c.History(t.Context(), web(), rollback.Stored)
		if err != nil || len(got) != 3 || got[1].Content != "" || got[1].Number != 2 {
			t.Errorf("a corrupt revision stays in the history and is never a target: got %v, %v", got, err)
		}
		if _, err := c.Manifest(t.Context(), web(), 2); err == nil || !strings.Contains(err.Error(), secretName(2)) {
			t.Errorf("the manifest of a corrupt revision is an error that names its Secret, not a panic: got %v", err)
		}
	})
	t.Run("a revision that cannot be read now", func(t *testing.T) {
		c := newCluster(t)
		c.before = func(method, object string) int {
			if method == http.MethodGet && object == "secrets/"+secretName(2) {
				return http.StatusInternalServerError
			}
			return 0
		}
		if got, err := c.History(t.Context(), web(), rollback.Stored); err == nil {
			t.Errorf("a revision that the API server cannot return is an error, else another one would be taken for the newest good one: got %v", got)
		}
	})
	t.Run("no answer in time", func(t *testing.T) {
		c := newCluster(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.History(ctx, web(), rollback.Stored); !errors.Is(err, context.Canceled) {
			t.Errorf("an ended context is an error: got %v", err)
		}
	})
}

// TestTheDeploymentTimeIsTheAPIServers: the clock of the machine that ran Helm may be wrong, and
// an alert from before the deployment would count as one about it, or the other way round.
func TestTheDeploymentTimeIsTheAPIServers(t *testing.T) {
	byHelm := time.Date(2026, 11, 27, 12, 3, 0, 0, time.UTC) // as newCluster stores revision 3
	for name, c := range map[string]struct{ created, want time.Time }{
		"Helm's clock is behind":                 {byHelm.Add(time.Hour), byHelm.Add(time.Hour)},
		"Helm's clock is ahead":                  {byHelm.Add(-time.Hour), byHelm.Add(-time.Hour)},
		"an API server that says no time at all": {time.Time{}, byHelm},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := newCluster(t)
			cluster.create(3, c.created)
			history, err := cluster.History(t.Context(), web(), rollback.Stored)
			if err != nil || !history.Newest().Deployed.Equal(c.want) {
				t.Errorf("revision 3 was deployed at %s: got %s, %v", c.want, history.Newest().Deployed, err)
			}
		})
	}
	t.Run("a revision that cannot be decoded", func(t *testing.T) {
		cluster := newCluster(t)
		cluster.corrupt(3)
		cluster.create(3, byHelm)
		history, err := cluster.History(t.Context(), web(), rollback.Stored)
		if err != nil || !history.Newest().Deployed.Equal(byHelm) {
			t.Errorf("its age is known too: got %s, %v", history.Newest().Deployed, err)
		}
	})
}

// create gives a stored revision the time at which the API server has created it.
func (s *apiServer) create(number int, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects["secrets/"+secretName(number)].DeepCopy()
	o.SetCreationTimestamp(metav1.NewTime(at))
	s.put("secrets/"+secretName(number), o)
}

// A record and its commands have the label by which the canary was looked for; the default one is not
// named.
func TestARevisionHasTheTrackLabel(t *testing.T) {
	c := newCluster(t)
	for want, track := range map[string]rollback.Track{"": {Label: "track"}, "role=canary,preview": {Label: "role", Canary: []string{"canary", "preview"}}} {
		client, err := helm.New(helm.Options{Config: c.config, Track: track, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		history, err := client.History(t.Context(), web(), rollback.Stored)
		if err != nil {
			t.Fatal(err)
		}
		newest := history.Newest()
		if r := rollback.NewRecord(web(), newest, nil, newest.Deployed); newest.TrackLabel != want || r.TrackLabel != want {
			t.Errorf("revision %q, record %q; want %q", newest.TrackLabel, r.TrackLabel, want)
		}
	}
}
