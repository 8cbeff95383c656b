package repository_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"revalidator/internal/apps"
	"revalidator/repository"
)

func TestBacklog(t *testing.T) {
	f := open(t)
	const calm, paused = "com.example.calm", "com.example.paused"
	f.addApp(calm, 1000)
	f.addApp(paused, 1000)
	_, err := f.PauseApp(t.Context(), paused, "test", noon)
	f.must(err)
	look := func(at time.Time, limit int) repository.Backlog {
		t.Helper()
		b, err := f.Backlog(t.Context(), at, limit)
		f.must(err)
		return b
	}
	want := repository.Backlog{PausedApps: 1}
	if diff := cmp.Diff(want, look(noon, 100), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("with no receipts (-want +got)\n%s", diff)
	}
	f.receipts(app, 5)
	f.receipts(calm, 4)
	f.receipts(paused, 3)
	due := noon
	want = repository.Backlog{Due: 9, Oldest: &due, PausedApps: 1}
	if diff := cmp.Diff(want, look(noon, 100), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("with all due (-want +got)\n%s", diff)
	}
	want.Due = 7
	if diff := cmp.Diff(want, look(noon, 7), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("counted up to 7 (-want +got)\n%s", diff)
	}
	want = repository.Backlog{PausedApps: 1}
	if diff := cmp.Diff(want, look(noon.Add(-time.Second), 100), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("a second before (-want +got)\n%s", diff)
	}
	f.claim(f.run(), 100)
	want.Claimed = 9
	if diff := cmp.Diff(want, look(noon, 100), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("with all claimed (-want +got)\n%s", diff)
	}
}

func TestBacklogKnowsTheOldestSecret(t *testing.T) {
	f := open(t)
	f.addApp("com.example.other", 1)
	add := func(bundleID, fingerprint, state string, age time.Duration) {
		t.Helper()
		id, err := f.AddSharedSecret(t.Context(), apps.SharedSecret{
			BundleID: bundleID, KeyID: "1", Fingerprint: fingerprint, CreatedAt: noon.Add(-age),
		}, func(int64) ([]byte, error) { return []byte("sealed"), nil })
		f.must(err)
		if state == "refused" {
			f.must(f.MarkSharedSecret(t.Context(), id, false, noon))
		}
	}
	look := func() *time.Time {
		t.Helper()
		b, err := f.Backlog(t.Context(), noon, 1)
		f.must(err)
		return b.Secret
	}
	if got := look(); got != nil {
		t.Errorf("without secrets: got %v, want none", got)
	}
	add(app, "a", "new", 40*day)
	add(app, "b", "new", 10*day)
	add("com.example.other", "c", "new", 20*day)
	add("com.example.other", "d", "refused", day)
	if got, want := look(), noon.Add(-20*day); got == nil || !got.Equal(want) {
		t.Errorf("got %v, want %v: the newest that the other app has", got, want)
	}
}
