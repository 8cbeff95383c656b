package report

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/database"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// Figure is a number of a run, and how it differs from that of the run before.
type Figure struct {
	Count int64 `json:"count"`
	// Before and Difference are nil where there is no run before.
	Before     *int64 `json:"before"`
	Difference *int64 `json:"difference"`
}

func newFigure(count int64, before *int64) Figure {
	f := Figure{Count: count, Before: before}
	if before != nil {
		difference := count - *before
		f.Difference = &difference
	}
	return f
}

// Review is what a run found, compared with the run before.
type Review struct {
	runs.Totals
	ElapsedSeconds float64 `json:"elapsed_seconds"`
	// CallsPerSecond is the mean rate that was used.
	CallsPerSecond float64 `json:"calls_per_second"`
	// Before is the run that it is compared with, nil where there is none.
	Before   *ReviewedBefore `json:"compared_with"`
	Compared ReviewTotals    `json:"totals"`
	Events   []TypeFigure    `json:"events"`
	Products []ProductReview `json:"products"`
	Failures []ClassFigure   `json:"failures"`
	Apps     []AppReview     `json:"apps"`
}

// ReviewedBefore is the run that another is compared with.
type ReviewedBefore struct {
	ID             int64     `json:"id"`
	ScheduledFor   time.Time `json:"scheduled_for"`
	StartedAt      time.Time `json:"started_at"`
	ElapsedSeconds float64   `json:"elapsed_seconds"`
	CallsPerSecond float64   `json:"calls_per_second"`
}

// ReviewTotals are the figures of the run row.
type ReviewTotals struct {
	// Due and InRun are nil until they are counted.
	Due       *Figure `json:"due"`
	Succeeded Figure  `json:"succeeded"`
	Failed    Figure  `json:"failed"`
	Released  Figure  `json:"released"`
	InRun     *Figure `json:"in_run"`
	Changed   Figure  `json:"changed"`
	Calls     Figure  `json:"calls"`
}

// TypeFigure is how often a type of event was found.
type TypeFigure struct {
	Type iap.EventType `json:"type"`
	Figure
}

// ClassFigure is how many answers were no use for a cause.
type ClassFigure struct {
	Class string `json:"class"`
	Figure
}

// ProductReview is what was found of a product.
type ProductReview struct {
	BundleID  string       `json:"bundle_id"`
	ProductID string       `json:"product_id"`
	Events    []TypeFigure `json:"events"`
}

// AppReview is an app's part of the run.
type AppReview struct {
	repository.RunApp
	// CallsPerSecond is the mean over the whole run, RatePerSecond what the app
	// is allowed now in each environment.
	CallsPerSecond float64 `json:"calls_per_second"`
	RatePerSecond  float64 `json:"rate_per_second"`
}

// ReviewStore is what the comparison of a run needs.
type ReviewStore interface {
	RunStore
	Apps(ctx context.Context) ([]apps.App, error)
	RunProducts(ctx context.Context, id int64) ([]repository.ProductEvents, error)
	// LastFinished and FinishedBefore fail with database.ErrNotFound where there is
	// none.
	LastFinished(ctx context.Context) (runs.Totals, error)
	FinishedBefore(ctx context.Context, kind runs.Kind, id int64) (runs.Totals, error)
}

// findings is all that is stored of a run.
type findings struct {
	totals   runs.Totals
	apps     []repository.RunApp
	products []repository.ProductEvents
	failures []repository.FailureCount
}

// ReadReview reads a run, or the last finished one where id is 0, and the one
// before it.
func ReadReview(ctx context.Context, store ReviewStore, id int64, now time.Time) (*Review, error) {
	totals, err := runOrLast(ctx, store, id)
	if err != nil {
		return nil, err
	}
	this, err := readFindings(ctx, store, totals)
	if err != nil {
		return nil, err
	}
	apps, err := store.Apps(ctx)
	if err != nil {
		return nil, err
	}
	totals, err = store.FinishedBefore(ctx, this.totals.Kind, this.totals.ID)
	if errors.Is(err, database.ErrNotFound) {
		return newReview(this, nil, apps, now), nil
	}
	if err != nil {
		return nil, err
	}
	before, err := readFindings(ctx, store, totals)
	if err != nil {
		return nil, err
	}
	return newReview(this, &before, apps, now), nil
}

func runOrLast(ctx context.Context, store ReviewStore, id int64) (runs.Totals, error) {
	if id == 0 {
		totals, err := store.LastFinished(ctx)
		if errors.Is(err, database.ErrNotFound) {
			return totals, errors.New("no run has finished yet: see 'revalidator status' for those that are running")
		}
		return totals, err
	}
	totals, err := store.RunTotals(ctx, id)
	return totals, noRun(err, id)
}

func readFindings(ctx context.Context, store ReviewStore, totals runs.Totals) (f findings, err error) {
	f.totals = totals
	if f.apps, err = store.RunApps(ctx, totals.ID); err != nil {
		return f, err
	}
	if f.products, err = store.RunProducts(ctx, totals.ID); err != nil {
		return f, err
	}
	f.failures, err = store.RunFailures(ctx, totals.ID)
	return f, err
}

// newReview compares what is stored of a run with what is stored of the one
// before it, nil where there is none.
func newReview(this findings, before *findings, apps []apps.App, now time.Time) *Review {
	r := &Review{
		Totals:         this.totals,
		ElapsedSeconds: Elapsed(this.totals, now).Seconds(),
		CallsPerSecond: perSecond(this.totals.Calls, Elapsed(this.totals, now)),
		Apps:           []AppReview{},
	}
	if before != nil {
		took := Elapsed(before.totals, now)
		r.Before = &ReviewedBefore{
			before.totals.ID, before.totals.ScheduledFor, before.totals.StartedAt,
			took.Seconds(), perSecond(before.totals.Calls, took),
		}
	}
	rates := make(map[string]float64, len(apps))
	for _, a := range apps {
		rates[a.BundleID] = a.RatePerSecond
	}
	for _, a := range this.apps {
		r.Apps = append(r.Apps, AppReview{a, perSecond(a.Calls, Elapsed(this.totals, now)), rates[a.BundleID]})
	}
	r.Compared = compareTotals(this, before)
	r.compareEvents(this, before)
	r.compareFailures(this, before)
	return r
}

// perSecond is a mean rate; a run that took no time to speak of took a second.
func perSecond(n int64, took time.Duration) float64 { return float64(n) / max(took.Seconds(), 1) }

func compareTotals(this findings, before *findings) ReviewTotals {
	of := func(n func(runs.Totals) int64) Figure {
		if before == nil {
			return newFigure(n(this.totals), nil)
		}
		earlier := n(before.totals)
		return newFigure(n(this.totals), &earlier)
	}
	totals := ReviewTotals{
		Succeeded: of(func(t runs.Totals) int64 { return t.Succeeded }),
		Failed:    of(func(t runs.Totals) int64 { return t.Failed }),
		Released:  of(func(t runs.Totals) int64 { return t.Released }),
		Changed:   of(func(t runs.Totals) int64 { return t.Changed }),
		Calls:     of(func(t runs.Totals) int64 { return t.Calls }),
	}
	if this.totals.Due != nil {
		due := of(runs.Totals.Counted)
		inRun := of(func(t runs.Totals) int64 { return t.Counted() - t.Done - t.Released })
		totals.Due, totals.InRun = &due, &inRun
	}
	return totals
}

// compareEvents lists what was found by type, and by product. What was found
// before and not now is listed with 0.
func (r *Review) compareEvents(this findings, before *findings) {
	type product struct{ bundleID, productID string }
	all := newComparison[iap.EventType](before != nil)
	products := make(map[product]*comparison[iap.EventType])
	count := func(f *findings, earlier bool) {
		if f == nil {
			return
		}
		for _, e := range f.products {
			key := product{e.BundleID, e.ProductID}
			if products[key] == nil {
				products[key] = newComparison[iap.EventType](before != nil)
			}
			all.add(e.Type, e.Count, earlier)
			products[key].add(e.Type, e.Count, earlier)
		}
	}
	count(&this, false)
	count(before, true)
	asFigure := func(t iap.EventType, f Figure) TypeFigure { return TypeFigure{t, f} }
	r.Events = listed(all, asFigure)
	r.Products = []ProductReview{}
	for key, c := range products {
		r.Products = append(r.Products, ProductReview{key.bundleID, key.productID, listed(c, asFigure)})
	}
	slices.SortFunc(r.Products, func(a, b ProductReview) int {
		return cmp.Or(cmp.Compare(a.BundleID, b.BundleID), cmp.Compare(a.ProductID, b.ProductID))
	})
}

func (r *Review) compareFailures(this findings, before *findings) {
	c := newComparison[string](before != nil)
	for _, f := range this.failures {
		c.add(f.Class, f.Answers, false)
	}
	if before != nil {
		for _, f := range before.failures {
			c.add(f.Class, f.Answers, true)
		}
	}
	r.Failures = listed(c, func(class string, f Figure) ClassFigure { return ClassFigure{class, f} })
}
