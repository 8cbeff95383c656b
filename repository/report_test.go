package repository_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/database"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/repository"
)

func TestLastFinishedAndTheOneBefore(t *testing.T) {
	f := open(t)
	if _, err := f.LastFinished(t.Context()); !errors.Is(err, database.ErrNotFound) {
		t.Errorf("without a run: got %v, want ErrNotFound", err)
	}
	nightly := f.run()
	first, second := f.manualRun(noon.Add(time.Hour)), f.manualRun(noon.Add(2*time.Hour))
	f.manualRun(noon.Add(3 * time.Hour)) // goes on
	f.end(nightly, runs.Finished)
	f.end(first, runs.Finished)
	f.end(second, runs.Finished)
	last, err := f.LastFinished(t.Context())
	f.must(err)
	if last.ID != second.ID {
		t.Errorf("last finished: got %d, want %d", last.ID, second.ID)
	}
	before, err := f.FinishedBefore(t.Context(), last.Kind, last.ID)
	f.must(err)
	if before.ID != first.ID {
		t.Errorf("the one before: got %d, want %d", before.ID, first.ID)
	}
	if _, err := f.FinishedBefore(t.Context(), runs.Nightly, nightly.ID); !errors.Is(err, database.ErrNotFound) {
		t.Errorf("before the first of its kind: got %v, want ErrNotFound", err)
	}
}

func TestRunProducts(t *testing.T) {
	f := open(t)
	f.receipts(app, 2)
	run := f.run()
	claims := f.claim(run, 2)
	other := success(claims[1], run, noon)
	other.Conclusion.Subscriptions[0].OriginalTransactionID, other.Conclusion.Subscriptions[0].ProductID = "2000", "yearly"
	f.save(success(claims[0], run, noon), other)
	got, err := f.RunProducts(t.Context(), run.ID)
	f.must(err)
	want := []repository.ProductEvents{
		{BundleID: app, ProductID: "monthly", Type: iap.EventStarted, Count: 1},
		{BundleID: app, ProductID: "yearly", Type: iap.EventStarted, Count: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events by product (-want +got)\n%s", diff)
	}
}
