package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/repository"
)

func TestReviewCompares(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 12, 1, 2, 0, 0, 0, time.UTC)
	number := func(n int64) *int64 { return &n }
	event := func(product string, kind iap.EventType, n int64) repository.ProductEvents {
		return repository.ProductEvents{BundleID: "reader", ProductID: product, Type: kind, Count: n}
	}
	this := findings{
		totals:   runs.Totals{Run: runs.Run{ID: 2, Kind: runs.Nightly}, StartedAt: start, Figures: runs.Figures{Calls: 200}},
		apps:     []repository.RunApp{{BundleID: "reader"}, {BundleID: "fitness"}},
		products: []repository.ProductEvents{event("monthly", "renewed", 5), event("yearly", "renewed", 2), event("monthly", "expired", 1)},
		failures: []repository.FailureCount{{Class: "timeout", Answers: 3}},
	}
	before := findings{
		products: []repository.ProductEvents{event("monthly", "renewed", 7), event("weekly", "refunded", 4)},
		failures: []repository.FailureCount{{Class: "server_error", Answers: 9}},
	}
	now := start.Add(100 * time.Second)
	r := newReview(this, &before, nil, now)
	if r.CallsPerSecond != 2 || r.Compared.Due != nil {
		t.Errorf("got %v/s and %v due, want 2 and none, because it is not counted", r.CallsPerSecond, r.Compared.Due)
	}
	wantEvents := []TypeFigure{
		{"renewed", newFigure(7, number(7))}, {"expired", newFigure(1, number(0))}, {"refunded", newFigure(0, number(4))},
	}
	if diff := cmp.Diff(wantEvents, r.Events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	wantProducts := []ProductReview{
		{"reader", "monthly", []TypeFigure{{"renewed", newFigure(5, number(7))}, {"expired", newFigure(1, number(0))}}},
		{"reader", "weekly", []TypeFigure{{"refunded", newFigure(0, number(4))}}},
		{"reader", "yearly", []TypeFigure{{"renewed", newFigure(2, number(0))}}},
	}
	if diff := cmp.Diff(wantProducts, r.Products); diff != "" {
		t.Errorf("products (-want +got):\n%s", diff)
	}
	wantFailures := []ClassFigure{{"timeout", newFigure(3, number(0))}, {"server_error", newFigure(0, number(9))}}
	if diff := cmp.Diff(wantFailures, r.Failures); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	alone := newReview(this, nil, nil, now)
	if alone.Before != nil || alone.Events[0].Before != nil || alone.Events[0].Difference != nil || alone.Compared.Succeeded.Before != nil {
		t.Errorf("without a run before there is something to compare with: %+v", alone)
	}
}
