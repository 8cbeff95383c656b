package main

import (
	"cmp"
	"slices"
	"time"

	"revalidator/internal/iap"
	"revalidator/internal/ledger"
)

// figure is a number of a run, and how it differs from that of the run before.
type figure struct {
	Count int64 `json:"count"`
	// Before and Difference are nil where there is no run before.
	Before     *int64 `json:"before"`
	Difference *int64 `json:"difference"`
}

func newFigure(count int64, before *int64) figure {
	f := figure{Count: count, Before: before}
	if before != nil {
		difference := count - *before
		f.Difference = &difference
	}
	return f
}

// runReview is what a run found, compared with the run before.
type runReview struct {
	ledger.RunTotals
	ElapsedSeconds float64 `json:"elapsed_seconds"`
	// CallsPerSecond is the mean rate that was used.
	CallsPerSecond float64 `json:"calls_per_second"`
	// Left is how many receipts were due at the start and not done.
	Left int64 `json:"left"`
	// Before is the run that it is compared with, nil where there is none.
	Before   *runBefore      `json:"compared_with"`
	Totals   reviewTotals    `json:"totals"`
	Events   []typeFigure    `json:"events"`
	Products []productReview `json:"products"`
	Failures []classFigure   `json:"failures"`
	Apps     []appReview     `json:"apps"`
}

// runBefore is the run that another is compared with.
type runBefore struct {
	ID             int64     `json:"id"`
	ScheduledFor   time.Time `json:"scheduled_for"`
	StartedAt      time.Time `json:"started_at"`
	ElapsedSeconds float64   `json:"elapsed_seconds"`
	CallsPerSecond float64   `json:"calls_per_second"`
}

// reviewTotals are the figures of the run row.
type reviewTotals struct {
	Due     figure `json:"due"`
	Done    figure `json:"done"`
	Left    figure `json:"left"`
	Changed figure `json:"changed"`
	Failed  figure `json:"failed"`
	Calls   figure `json:"calls"`
}

// typeFigure is how often a type of event was found.
type typeFigure struct {
	Type iap.EventType `json:"type"`
	figure
}

// classFigure is how many answers were no use for a cause.
type classFigure struct {
	Class string `json:"class"`
	figure
}

// productReview is what was found of a product.
type productReview struct {
	BundleID  string       `json:"bundle_id"`
	ProductID string       `json:"product_id"`
	Events    []typeFigure `json:"events"`
}

// appReview is an app's part of the run.
type appReview struct {
	BundleID string `json:"bundle_id"`
	Due      int64  `json:"due"`
	Done     int64  `json:"done"`
	Left     int64  `json:"left"`
	Changed  int64  `json:"changed"`
	Failed   int64  `json:"failed"`
	Calls    int64  `json:"calls"`
	// CallsPerSecond is the mean over the whole run, RatePerSecond what the app
	// is allowed now in each environment.
	CallsPerSecond float64 `json:"calls_per_second"`
	RatePerSecond  float64 `json:"rate_per_second"`
	// PausedCode and PausedText are why the app is paused now, nil while it is not.
	PausedCode *string `json:"paused_code"`
	PausedText *string `json:"paused_text"`
}

// newRunReview compares what is stored of a run with what is stored of the one
// before it, nil where there is none.
func newRunReview(this findings, before *findings, apps []ledger.App, now time.Time) *runReview {
	r := &runReview{
		RunTotals:      this.totals,
		ElapsedSeconds: elapsed(this.totals, now).Seconds(),
		CallsPerSecond: perSecond(this.totals.Calls, elapsed(this.totals, now)),
		Apps:           []appReview{},
	}
	if before != nil {
		took := elapsed(before.totals, now)
		r.Before = &runBefore{
			before.totals.ID, before.totals.ScheduledFor, before.totals.StartedAt,
			took.Seconds(), perSecond(before.totals.Calls, took),
		}
	}
	rates := make(map[string]float64, len(apps))
	for _, a := range apps {
		rates[a.BundleID] = a.RatePerSecond
	}
	for _, a := range this.apps {
		review := appReview{
			BundleID: a.BundleID, Due: a.Due, Done: a.Done, Left: leftOf(this.totals, a.Due, a.Done), Changed: a.Changed,
			Failed: a.Failed, Calls: a.Calls, CallsPerSecond: perSecond(a.Calls, elapsed(this.totals, now)),
			RatePerSecond: rates[a.BundleID], PausedCode: a.PausedCode, PausedText: a.PausedText,
		}
		r.Apps = append(r.Apps, review)
	}
	r.Left = leftOfAll(this)
	r.Totals = compareTotals(this, before)
	r.compareEvents(this, before)
	r.compareFailures(this, before)
	return r
}

// perSecond is a mean rate; a run that took no time to speak of took a second.
func perSecond(n int64, took time.Duration) float64 { return float64(n) / max(took.Seconds(), 1) }

// leftOf is how many receipts were due and not done. What a finished backfill
// did not do was checked by other runs meanwhile.
func leftOf(t ledger.RunTotals, due, done int64) int64 {
	if t.Kind == ledger.RunBackfill && t.State == ledger.RunFinished {
		return 0
	}
	return max(due-done, 0)
}

// leftOfAll adds up by app: one that did more than was due at the start, such
// as what fell due anew, makes up for none of another.
func leftOfAll(f findings) (left int64) {
	for _, a := range f.apps {
		left += leftOf(f.totals, a.Due, a.Done)
	}
	return left
}

func compareTotals(this findings, before *findings) reviewTotals {
	of := func(n func(findings) int64) figure {
		if before == nil {
			return newFigure(n(this), nil)
		}
		earlier := n(*before)
		return newFigure(n(this), &earlier)
	}
	return reviewTotals{
		Due:     of(func(f findings) int64 { return f.totals.Due }),
		Done:    of(func(f findings) int64 { return f.totals.Done }),
		Left:    of(leftOfAll),
		Changed: of(func(f findings) int64 { return f.totals.Changed }),
		Failed:  of(func(f findings) int64 { return f.totals.Failed }),
		Calls:   of(func(f findings) int64 { return f.totals.Calls }),
	}
}

// compareEvents lists what was found by type, and by product. What was found
// before and not now is listed with 0.
func (r *runReview) compareEvents(this findings, before *findings) {
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
	asFigure := func(t iap.EventType, f figure) typeFigure { return typeFigure{t, f} }
	r.Events = listed(all, asFigure)
	r.Products = []productReview{}
	for key, c := range products {
		r.Products = append(r.Products, productReview{key.bundleID, key.productID, listed(c, asFigure)})
	}
	slices.SortFunc(r.Products, func(a, b productReview) int {
		return cmp.Or(cmp.Compare(a.BundleID, b.BundleID), cmp.Compare(a.ProductID, b.ProductID))
	})
}

func (r *runReview) compareFailures(this findings, before *findings) {
	c := newComparison[string](before != nil)
	for _, f := range this.failures {
		c.add(f.Class, f.Answers, false)
	}
	if before != nil {
		for _, f := range before.failures {
			c.add(f.Class, f.Answers, true)
		}
	}
	r.Failures = listed(c, func(class string, f figure) classFigure { return classFigure{class, f} })
}

// comparison is counts by name of two runs.
type comparison[K cmp.Ordered] struct {
	this, before map[K]int64 // before is nil where there is no run before
}

func newComparison[K cmp.Ordered](compared bool) *comparison[K] {
	c := &comparison[K]{this: make(map[K]int64)}
	if compared {
		c.before = make(map[K]int64)
	}
	return c
}

func (c *comparison[K]) add(name K, n int64, earlier bool) {
	if earlier {
		c.before[name] += n
		c.this[name] += 0
		return
	}
	c.this[name] += n
}

// listed lists the figures of a comparison, the largest first.
func listed[K cmp.Ordered, T any](c *comparison[K], of func(K, figure) T) []T {
	names := make([]K, 0, len(c.this))
	for name := range c.this {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b K) int {
		return cmp.Or(cmp.Compare(c.this[b], c.this[a]), cmp.Compare(c.before[b], c.before[a]), cmp.Compare(a, b))
	})
	items := make([]T, len(names))
	for i, name := range names {
		var before *int64
		if c.before != nil {
			n := c.before[name]
			before = &n
		}
		items[i] = of(name, newFigure(c.this[name], before))
	}
	return items
}
