package repository_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/apps"
	"revalidator/internal/database"
)

// secret adds a secret that is its own ciphertext, and returns its id.
func (f fixture) secret(bundleID, text string, at time.Time) int64 {
	f.t.Helper()
	id, err := f.AddSharedSecret(f.t.Context(), apps.SharedSecret{
		BundleID: bundleID, KeyID: "1", Fingerprint: text, CreatedAt: at,
	}, func(int64) ([]byte, error) { return []byte(text), nil })
	f.must(err)
	return id
}

// TestSecretsInOrder lists secrets in the order in which to try them.
func TestSecretsInOrder(t *testing.T) {
	f := open(t)
	f.addApp("com.example.fitness", 1)
	mark := func(id int64, accepted bool, at time.Time) { f.must(f.MarkSharedSecret(t.Context(), id, accepted, at)) }
	f.secret("", "primary", noon)
	f.secret(app, "new", noon)
	f.secret(app, "newer", noon)
	f.secret("com.example.fitness", "of another app", noon)
	mark(f.secret("", "primary accepted", noon), true, noon.Add(time.Hour))
	mark(f.secret(app, "accepted", noon), true, noon)
	mark(f.secret(app, "accepted later", noon), true, noon.Add(time.Minute))
	mark(f.secret(app, "refused", noon), false, noon)
	retired := f.secret(app, "retired", noon)
	for _, want := range []bool{true, false} {
		if changed, err := f.RetireSharedSecret(t.Context(), retired); err != nil || changed != want {
			t.Errorf("retire: changed %t, %v; want %t", changed, err, want)
		}
	}
	mark(retired, true, noon)

	secrets, err := f.SharedSecrets(t.Context(), app)
	f.must(err)
	var got []string
	for _, s := range secrets {
		got = append(got, string(s.Ciphertext))
	}
	want := []string{"accepted later", "accepted", "primary accepted", "newer", "new", "primary", "refused"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got)\n%s", diff)
	}
	if all, err := f.AllSharedSecrets(t.Context()); err != nil || len(all) != 9 {
		t.Errorf("all: %d secrets, %v; want 9", len(all), err)
	}
}

func TestRemoveSecret(t *testing.T) {
	f := open(t)
	id := f.secret(app, "wrong", noon)
	for _, want := range []bool{true, false} {
		if changed, err := f.RemoveSharedSecret(t.Context(), id); err != nil || changed != want {
			t.Errorf("remove: changed %t, %v; want %t", changed, err, want)
		}
	}
	if _, err := f.SharedSecret(t.Context(), id); !errors.Is(err, database.ErrNotFound) {
		t.Errorf("read: got %v, want ErrNotFound", err)
	}
	f.secret(app, "wrong", noon) // may be added again
}

// TestClaimProbe is when an app that stands still is to be tried again.
func TestClaimProbe(t *testing.T) {
	f := open(t)
	const retry, recheck = 10 * time.Second, time.Hour
	probe := func(after time.Duration) bool {
		t.Helper()
		got, err := f.ClaimProbe(t.Context(), noon.Add(after), retry, recheck)
		if err != nil && !errors.Is(err, database.ErrNotFound) {
			t.Fatal(err)
		}
		return got.BundleID == app
	}
	check := func(name string, after time.Duration, want bool) {
		t.Helper()
		if got := probe(after); got != want {
			t.Errorf("%s: probe %t, want %t", name, got, want)
		}
	}
	old := f.secret(app, "old", noon.Add(-time.Hour))
	f.must(f.MarkSharedSecret(t.Context(), old, false, noon))
	check("enabled", time.Second, false)
	_, err := f.PauseApp(t.Context(), app, apps.PausedSecretRefused, noon)
	f.must(err)
	check("all refused", time.Second, false)
	check("all refused, long after", recheck, true)
	check("just checked again", recheck+retry, false)

	added := f.secret(app, "added", noon.Add(recheck+time.Minute))
	check("added", recheck+time.Minute, true)
	check("somebody is at it", recheck+time.Minute, false)
	check("Apple said nothing", recheck+time.Minute+retry, true)
	f.must(f.MarkSharedSecret(t.Context(), added, false, noon))
	check("refused", recheck+time.Minute+2*retry, false)

	f.secret("", "primary of a clock that is ahead", noon.Add(recheck+time.Hour))
	check("added in the future", recheck+2*time.Minute, true)
	check("and tried once", recheck+3*time.Minute, false)

	if changed, err := f.ResumeForSecret(t.Context(), app); err != nil || !changed {
		t.Errorf("resume: changed %t, %v", changed, err)
	}
	_, err = f.PauseApp(t.Context(), app, apps.PausedByPerson, noon)
	f.must(err)
	check("paused by a person", 10*recheck, false)
	if changed, err := f.ResumeForSecret(t.Context(), app); err != nil || changed {
		t.Errorf("resume what a person paused: changed %t, %v", changed, err)
	}
}

func TestProbeReceipts(t *testing.T) {
	f := open(t)
	f.receipts(app, 5)
	receipts, err := f.ProbeReceipts(t.Context(), app)
	f.must(err)
	if len(receipts) != 3 || receipts[0].ByteSize == 0 {
		t.Errorf("receipts: %+v, want three with their sizes", receipts)
	}
	if other, err := f.ProbeReceipts(t.Context(), "com.example.fitness"); err != nil || len(other) != 0 {
		t.Errorf("another app: %v, %v; want none", other, err)
	}
}

// TestReseal encrypts a secret anew once, and leaves it where that fails.
func TestReseal(t *testing.T) {
	f := open(t)
	id := f.secret(app, "sealed", noon)
	fault := errors.New("no such key")
	if _, err := f.ResealSharedSecret(t.Context(), id, "2", func(apps.SharedSecret) ([]byte, error) { return nil, fault }); !errors.Is(err, fault) {
		t.Errorf("error: got %v, want that of the key", err)
	}
	again := func(s apps.SharedSecret) ([]byte, error) { return slices.Concat(s.Ciphertext, []byte(" again")), nil }
	for _, want := range []bool{true, false} {
		if changed, err := f.ResealSharedSecret(t.Context(), id, "2", again); err != nil || changed != want {
			t.Errorf("changed %t, %v; want %t", changed, err, want)
		}
	}
	got, err := f.SharedSecret(t.Context(), id)
	f.must(err)
	if string(got.Ciphertext) != "sealed again" || got.KeyID != "2" {
		t.Errorf("row: %q under key %s, want it sealed again under 2", got.Ciphertext, got.KeyID)
	}
}
