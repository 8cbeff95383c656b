package report

import (
	"fmt"
	"time"

	"revalidator/internal/phrase"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// WaitingText says how many wait, and when the first of them is due; it is empty where
// none does.
func WaitingText(w repository.Waiting) string {
	if w.Receipts == 0 || w.NextAt == nil {
		return ""
	}
	count, verb := phrase.Count(w.Receipts), "wait"
	switch {
	case w.More:
		count = "more than " + count
	case w.Receipts == 1:
		verb = "waits"
	}
	return fmt.Sprintf("%s %s for a retry, the next at %s", count, verb, w.NextAt.UTC().Format("15:04 MST"))
}

// Progress is how far a run is.
type Progress struct {
	// Left is how many receipts are still in the run, nil until they are counted.
	Left *int64 `json:"left"`
	// PerSecond is the pace of the last seconds, nil before it is measured;
	// AveragePerSecond is that since the start.
	PerSecond        *float64 `json:"per_second"`
	AveragePerSecond float64  `json:"average_per_second"`
	// SecondsLeft is until the slowest enabled app is done, nil where nothing
	// moves.
	SecondsLeft *float64 `json:"seconds_left"`
	// Waiting is what waits for a retry, or to be claimed again.
	Waiting repository.Waiting `json:"waiting"`
}

// paceWindow is how far back the pace of now reaches.
const paceWindow = 30 * time.Second

// paceLook is how many receipts of each app of a run were done at a time.
type paceLook struct {
	at   time.Time
	done map[string]int64
}

// Paces finds out how fast runs go, from one look at them to the next.
type Paces struct{ runs map[int64][]paceLook }

// NewPaces has no look yet.
func NewPaces() *Paces { return &Paces{make(map[int64][]paceLook)} }

// Measuring reports whether any run is running, whose pace another look tells.
func (p *Paces) Measuring() bool { return len(p.runs) > 0 }

// note adds a look at a run that is running, and forgets those before the
// window.
func (p *Paces) note(id int64, at time.Time, apps []repository.RunApp) {
	look := paceLook{at, make(map[string]int64, len(apps))}
	for _, a := range apps {
		look.done[a.BundleID] = a.Done
	}
	looks := append(p.runs[id], look)
	for len(looks) > 2 && at.Sub(looks[1].at) >= paceWindow {
		looks = looks[1:]
	}
	p.runs[id] = looks
}

// perSecond is the pace of an app in a run by the looks so far; known is false
// where there was one look only.
func (p *Paces) perSecond(id int64, bundleID string) (pace float64, known bool) {
	looks := p.runs[id]
	if len(looks) < 2 {
		return 0, false
	}
	first, last := looks[0], looks[len(looks)-1]
	return float64(last.done[bundleID]-first.done[bundleID]) / last.at.Sub(first.at).Seconds(), true
}

// standsAfter is for how long nothing must have moved before a run stands still.
const standsAfter = 5 * time.Second

// measuredFor is whether the looks at a run are that far apart.
func (p *Paces) measuredFor(id int64, span time.Duration) bool {
	looks := p.runs[id]
	return len(looks) > 1 && looks[len(looks)-1].at.Sub(looks[0].at) >= span
}

// progress is how far a run is that is running.
func (p *Paces) progress(t runs.Totals, waiting repository.Waiting, apps []repository.RunApp, now time.Time) *Progress {
	elapsed := max(now.Sub(t.StartedAt).Seconds(), 1)
	result := &Progress{Left: t.InRun, AveragePerSecond: float64(t.Done) / elapsed, Waiting: waiting}
	var total, longest float64
	// Where all of it waits, or an app has not moved for a while, the average does not
	// say when it ends.
	stands := t.InRun != nil && waiting.Receipts >= *t.InRun
	for _, a := range apps {
		pace, known := p.perSecond(t.ID, a.BundleID)
		if known {
			total += pace
			result.PerSecond = &total
		}
		if a.InRun == nil || *a.InRun == 0 || a.PausedCode != nil {
			continue
		}
		if pace == 0 && !p.measuredFor(t.ID, standsAfter) {
			pace = float64(a.Done) / elapsed
		}
		stands = stands || pace == 0
		longest = max(longest, float64(*a.InRun)/max(pace, 1e-9))
	}
	if t.InRun != nil && !stands && longest > 0 {
		result.SecondsLeft = &longest
	}
	return result
}
