package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// statusText is the status for people.
func statusText(out *terminal.Page, r *report.Status) {
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
			out.Printf("Run %d: %s\n", run.ID, equationText(run.Totals))
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
	terminal.Each(s, "Clock", r.WrongClocks, func(c report.WrongClock) string { return out.Paint(terminal.Red, c.String()+": checks are held") })
	if r.Missing() != nil {
		s.Sentence("Redis", "%s", out.Paint(terminal.Red, "does not answer: queues, workers and schedulers are not known"))
	} else {
		queueText(s, r.QueueStatus)
	}
	terminal.Each(s, "Paused", r.Paused, func(a apps.App) string { return pausedLine(a, out) })
	terminal.Each(s, "Quarantine", r.Stops, func(s repository.QuarantineStop) string {
		return out.Paint(terminal.Red, "stopped for "+report.StopText(s)+"; see 'revalidator doctor'")
	})
	terminal.Each(s, "Secrets", r.Secrets, func(w report.SecretWarning) string { return out.Paint(terminal.Yellow, secretText(w, r.At)) })
}

func queueText(s terminal.Sheet, q report.QueueStatus) {
	out := s.Page
	owner := q.Queue.String()
	if q.Queue.Owner != nil && !q.Queue.Own {
		owner = out.Paint(terminal.Red, owner)
	}
	s.Sentence("Redis", "%s", owner)
	for i, q := range q.Queues {
		label := ""
		if i == 0 {
			label = "Queues"
		}
		s.Items(label, fmt.Sprintf("%s: %d waiting, %d active, %d to retry, %d archived",
			q.Queue, q.Waiting, q.Active, q.Retry, q.Archived))
	}
	s.Items("Workers", serversText(len(q.Workers)+q.WorkersUnlisted, "worker", out))
	s.Items("Schedulers", serversText(len(q.Schedulers), "scheduler", out))
	if q.SilentClaims > 0 {
		s.Sentence("Claims", "%s", out.Paint(terminal.Red, report.SilentText(q.SilentClaims)))
	}
	terminal.Each(s, "Apple", q.Budgets, func(b report.Budget) string { return budgetText(out, b, s.Now) })
}

// pausedLine says why an app is paused, and what to do where that is known.
func pausedLine(a apps.App, out *terminal.Page) string {
	text := a.BundleID + " " + pausedText(a)
	if !report.WantsSecret(a) {
		return text
	}
	return out.Paint(terminal.Red, text+"; see 'revalidator secrets add'")
}

func runsTable(out *terminal.Page, runs []report.RunLine, now time.Time) {
	table := out.Table()
	table.Row("RUN\tKIND\tSTART (UTC)\tSTATE\t%6s\t%6s\t%7s\t%6s\tTOOK", "DUE", "DONE", "CHANGED", "FAILED")
	for _, r := range runs {
		table.Row("%d\t%s\t%s\t%s\t%6s\t%6s\t%7s\t%6s\t%s", r.ID, r.Kind,
			r.StartedAt.UTC().Format("01-02 15:04"), phrase.Words(string(r.State)), phrase.CountIf(r.Due), phrase.Count(r.Done), phrase.Count(r.Changed), phrase.Count(r.Failed),
			phrase.Duration(report.Elapsed(r.Totals, now).Seconds()))
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

func dueText(d report.Due, now time.Time, out *terminal.Page) []string {
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

// secretText says what is wrong with the secrets of an app, and what to do.
func secretText(w report.SecretWarning, now time.Time) string {
	switch w.Warning {
	case report.SecretMissing:
		return w.BundleID + " has none: see 'revalidator secrets add'"
	case report.SecretRefused:
		return w.BundleID + ": Apple refused every one: see 'revalidator secrets add'"
	case report.SecretUnproven:
		return w.BundleID + ": the one that Apple accepted is retired: see 'revalidator secrets verify'"
	}
	return fmt.Sprintf("%s: the newest was added %s", w.BundleID, phrase.TimeAgo(*w.Newest, now))
}

// budgetText says how a budget stands, for people.
func budgetText(out *terminal.Page, b report.Budget, now time.Time) string {
	name := b.Name()
	switch {
	case b.Unreadable:
		return out.Paint(terminal.Red, fmt.Sprintf("%s: what Redis holds of failures is not readable, and is written again", name))
	case b.HeldBackSince == nil && b.BlockedUntil != nil:
		return out.Paint(terminal.Red, fmt.Sprintf("%s blocked until %s, as Apple asked (HTTP 429)", name, phrase.Time(*b.BlockedUntil)))
	case b.HeldBackSince == nil:
		return out.Paint(terminal.Yellow, fmt.Sprintf("%s shows distress: %.0f %% of the rate", name, 100*b.RateShare))
	case b.ProbedAt.After(now):
		return out.Paint(terminal.Red, fmt.Sprintf("%s held back since %s, for %s; probed at %s", name,
			phrase.TimeAgo(*b.HeldBackSince, now), phrase.Words(b.HeldBackFor), phrase.Time(*b.ProbedAt)))
	}
	return out.Paint(terminal.Red, fmt.Sprintf("%s held back since %s, for %s; being probed", name,
		phrase.TimeAgo(*b.HeldBackSince, now), phrase.Words(b.HeldBackFor)))
}
