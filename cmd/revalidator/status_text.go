package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"revalidator/internal/ledger"
	"revalidator/internal/phrase"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// text is the report for people.
func (r *statusReport) text(out *terminal.Page) {
	if len(r.Runs) == 0 {
		out.Print("No runs yet: start one with 'revalidator run', or a scheduler.\n")
	} else {
		runsTable(out, r.Runs, r.At)
	}
	for _, run := range r.Runs {
		if run.Progress != nil {
			out.Printf("\nRun %d, started by %s:\n%s\n", run.ID, orUnknown(run.StartedBy), progressText(run, out))
		}
		if run.Released > 0 || run.InRun == nil || *run.InRun > 0 {
			out.Printf("Run %d: %s\n", run.ID, equationText(run.RunTotals))
		}
	}
	out.Print("\n")
	s := terminal.Sheet{Page: out, Now: r.At, Label: 15}
	s.Items("Receipts", tallyText(r.Receipts, r.At)...)
	s.Items("Subscriptions", tallyText(r.Subscriptions, r.At)...)
	s.Items("Due now", dueText(r.Due, r.At, out)...)
	if r.DuePaused.Receipts > 0 {
		s.Items("", dueText(r.DuePaused, r.At, out)[0]+" of paused apps")
	}
	terminal.Each(s, "Clock", r.WrongClocks, func(c wrongClock) string { return out.Paint(terminal.Red, c.text()+": checks are held") })
	if r.redisError != nil {
		s.Sentence("Redis", "%s", out.Paint(terminal.Red, "away, so that queues, workers and schedulers are not known"))
	} else {
		r.queueStatus.text(s)
	}
	terminal.Each(s, "Paused", r.Paused, func(a ledger.App) string { return pausedLine(a, out) })
	terminal.Each(s, "Quarantine", r.Stops, func(s ledger.QuarantineStop) string {
		return out.Paint(terminal.Red, "stopped for "+stopText(s)+"; see 'revalidator doctor'")
	})
	terminal.Each(s, "Secrets", r.Secrets, func(w secretWarning) string { return out.Paint(terminal.Yellow, w.text(r.At)) })
}

func (q queueStatus) text(s terminal.Sheet) {
	out, now := s.Page, s.Now
	s.Sentence("Redis", "%s", q.Queue.text(out))
	for i, q := range q.Queues {
		label := ""
		if i == 0 {
			label = "Queues"
		}
		s.Items(label, fmt.Sprintf("%s: %d waiting, %d in hand, %d to retry, %d archived",
			q.Queue, q.Waiting, q.InHand, q.Retry, q.Archived))
	}
	s.Items("Workers", serversText(len(q.Workers), "worker", out))
	s.Items("Schedulers", serversText(len(q.Schedulers), "scheduler", out))
	if q.SilentClaims > 0 {
		s.Sentence("Claims", "%s", out.Paint(terminal.Red, silentText(q.SilentClaims)))
	}
	terminal.Each(s, "Apple", q.Budgets, func(b budgetReport) string { return b.text(now, out) })
}

// silentText says that claims have no task, and what becomes of their receipts.
func silentText(n int) string {
	return fmt.Sprintf("%s of the oldest have no task: their receipts wait until the claims run out", phrase.Count(int64(n)))
}

// pausedLine says why an app is paused, and what to do where that is known.
func pausedLine(a ledger.App, out *terminal.Page) string {
	text := a.BundleID + " " + pausedText(a)
	if !wantsSecret(a) {
		return text
	}
	return out.Paint(terminal.Red, text+"; see 'revalidator secrets add'")
}

func runsTable(out *terminal.Page, runs []runLine, now time.Time) {
	table := out.Table()
	table.Row("RUN\tKIND\tSTART (UTC)\tSTATE\t%6s\t%6s\t%7s\t%6s\tTOOK", "DUE", "DONE", "CHANGED", "FAILED")
	for _, r := range runs {
		table.Row("%d\t%s\t%s\t%s\t%6s\t%6s\t%7s\t%6s\t%s", r.ID, r.Kind,
			r.StartedAt.UTC().Format("01-02 15:04"), phrase.Words(string(r.State)), phrase.CountIf(r.Due), phrase.Count(r.Done), phrase.Count(r.Changed), phrase.Count(r.Failed),
			phrase.Duration(elapsed(r.RunTotals, now).Seconds()))
	}
	table.End()
}

func tallyText(t repository.Tally, now time.Time) []string {
	var counts []string
	about := ""
	if t.Estimated {
		about = "about "
	}
	for _, value := range slices.Sorted(maps.Keys(t.Counts)) {
		counts = append(counts, about+phrase.Count(t.Counts[value])+" "+phrase.Words(value))
	}
	if t.EstimatedAt != nil {
		counts = append(counts, "as of "+phrase.TimeAgo(*t.EstimatedAt, now))
	}
	return counts
}

func dueText(d dueReport, now time.Time, out *terminal.Page) []string {
	if d.Oldest == nil {
		return nil
	}
	text := phrase.Count(d.Receipts)
	if d.More {
		text = "more than " + text
	}
	things := []string{text, "the oldest since " + phrase.TimeAgo(*d.Oldest, now)}
	if d.OverdueSince != nil {
		things = append(things, out.Paint(terminal.Yellow, "overdue since the run of "+phrase.Time(*d.OverdueSince)))
	}
	return things
}

// serversText is how many workers or schedulers there are, and how to start one.
func serversText(n int, command string, out *terminal.Page) string {
	if n == 0 {
		return out.Paint(terminal.Yellow, fmt.Sprintf("none: start one with 'revalidator %s'", command))
	}
	return fmt.Sprintf("%d running", n)
}

// text says what is wrong with the secrets of an app, and what to do.
func (w secretWarning) text(now time.Time) string {
	if w.Warning == secretMissing {
		return w.BundleID + " has none: see 'revalidator secrets add'"
	}
	return fmt.Sprintf("%s: the newest was added %s", w.BundleID, phrase.TimeAgo(*w.Newest, now))
}
