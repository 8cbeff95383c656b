package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"revalidator/internal/ledger"
	"revalidator/repository"
)

// mostLines is how many apps status names for one cause.
const mostLines = 10

// text is the report for people.
func (r *statusReport) text(out io.Writer, o printer) error {
	if len(r.Runs) == 0 {
		fmt.Fprintln(out, "No runs yet: start one with 'revalidator run', or a scheduler.")
	} else if err := runsTable(out, r.Runs, r.At); err != nil {
		return err
	}
	for _, run := range r.Runs {
		if run.Progress != nil {
			fmt.Fprintf(out, "\nRun %d, started by %s:\n%s\n", run.ID, orUnknown(run.StartedBy), progressText(run, o))
		}
		if run.Released > 0 || run.InRun == nil || *run.InRun > 0 {
			fmt.Fprintf(out, "Run %d: %s\n", run.ID, equationText(run.RunTotals))
		}
	}
	fmt.Fprintln(out)
	item(out, "Receipts", tallyText(r.Receipts, r.At)...)
	item(out, "Subscriptions", tallyText(r.Subscriptions, r.At)...)
	item(out, "Due now", dueText(r.Due, r.At, o)...)
	if r.DuePaused.Receipts > 0 {
		item(out, "", dueText(r.DuePaused, r.At, o)[0]+" of paused apps")
	}
	items(out, "Clock", r.WrongClocks, func(c wrongClock) string { return o.paint(red, c.text()+": checks are held") })
	if r.redisError != nil {
		labelled(out, "Redis", strings.Fields(o.paint(red, "away, so that queues, workers and schedulers are not known")))
	} else {
		r.queueStatus.text(out, r.At, o)
	}
	items(out, "Paused", r.Paused, func(a ledger.App) string { return pausedLine(a, o) })
	items(out, "Quarantine", r.Stops, func(s ledger.QuarantineStop) string {
		return o.paint(red, "stopped for "+stopText(s)+"; see 'revalidator doctor'")
	})
	items(out, "Secrets", r.Secrets, func(w secretWarning) string { return o.paint(yellow, w.text(r.At)) })
	return nil
}

func (q queueStatus) text(out io.Writer, now time.Time, o printer) {
	labelled(out, "Redis", strings.Fields(q.Queue.text(o)))
	for i, q := range q.Queues {
		label := ""
		if i == 0 {
			label = "Queues"
		}
		item(out, label, fmt.Sprintf("%s: %d waiting, %d in hand, %d to retry, %d archived",
			q.Queue, q.Waiting, q.InHand, q.Retry, q.Archived))
	}
	item(out, "Workers", serversText(len(q.Workers), "worker", o))
	item(out, "Schedulers", serversText(len(q.Schedulers), "scheduler", o))
	if q.SilentClaims > 0 {
		labelled(out, "Claims", strings.Fields(o.paint(red, silentText(q.SilentClaims))))
	}
	items(out, "Apple", q.Budgets, func(b budgetReport) string { return b.text(now, o) })
}

// silentText says that claims have no task, and what becomes of their receipts.
func silentText(n int) string {
	return fmt.Sprintf("%s of the oldest have no task: their receipts wait until the claims run out", count(int64(n)))
}

// item prints a label and what there is of it, in lines of a terminal.
func item(out io.Writer, label string, things ...string) {
	if len(things) == 0 {
		things = []string{"none"}
	}
	for i := range things[:len(things)-1] {
		things[i] += ","
	}
	labelled(out, label, things)
}

// labelled prints pieces of text after a label, in lines of a terminal.
func labelled(out io.Writer, label string, pieces []string) {
	const indent = 15
	fmt.Fprintf(out, "%-*s%s", indent, label, indented(pieces, indent, 80)[indent:])
}

// items prints a line for each of the first things of a list.
func items[T any](out io.Writer, label string, things []T, text func(T) string) {
	for _, thing := range things[:min(len(things), mostLines)] {
		labelled(out, label, strings.Fields(text(thing)))
		label = ""
	}
	if more := len(things) - mostLines; more > 0 {
		item(out, "", fmt.Sprintf("and %d more", more))
	}
}

// pausedLine says why an app is paused, and what to do where that is known.
func pausedLine(a ledger.App, o printer) string {
	text := a.BundleID + " " + pausedText(a)
	if !wantsSecret(a) {
		return text
	}
	return o.paint(red, text+"; see 'revalidator secrets add'")
}

func runsTable(out io.Writer, runs []runLine, now time.Time) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "RUN\tKIND\tSTART (UTC)\tSTATE\t%6s\t%6s\t%7s\t%6s\tTOOK\n", "DUE", "DONE", "CHANGED", "FAILED")
	for _, r := range runs {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%6s\t%6s\t%7s\t%6s\t%s\n", r.ID, r.Kind,
			r.StartedAt.UTC().Format("01-02 15:04"), words(string(r.State)), dueCount(r.Due), count(r.Done), count(r.Changed), count(r.Failed),
			duration(elapsed(r.RunTotals, now).Seconds()))
	}
	return table.Flush()
}

func tallyText(t repository.Tally, now time.Time) []string {
	var counts []string
	about := ""
	if t.Estimated {
		about = "about "
	}
	for _, value := range slices.Sorted(maps.Keys(t.Counts)) {
		counts = append(counts, about+count(t.Counts[value])+" "+words(value))
	}
	if t.EstimatedAt != nil {
		counts = append(counts, "as of "+whenAgo(*t.EstimatedAt, now))
	}
	return counts
}

func dueText(d dueReport, now time.Time, o printer) []string {
	if d.Oldest == nil {
		return nil
	}
	text := count(d.Receipts)
	if d.More {
		text = "more than " + text
	}
	things := []string{text, "the oldest since " + whenAgo(*d.Oldest, now)}
	if d.OverdueSince != nil {
		things = append(things, o.paint(yellow, "overdue since the run of "+when(*d.OverdueSince)))
	}
	return things
}

// serversText is how many workers or schedulers there are, and how to start one.
func serversText(n int, command string, o printer) string {
	if n == 0 {
		return o.paint(yellow, fmt.Sprintf("none: start one with 'revalidator %s'", command))
	}
	return fmt.Sprintf("%d running", n)
}

// text says what is wrong with the secrets of an app, and what to do.
func (w secretWarning) text(now time.Time) string {
	switch w.Warning {
	case secretMissing:
		return w.BundleID + " has none: see 'revalidator secrets add'"
	case secretRefused:
		return w.BundleID + ": Apple refused every one: see 'revalidator secrets add'"
	case secretUnproven:
		return w.BundleID + ": the one that Apple accepted is retired: see 'revalidator secrets verify'"
	}
	return fmt.Sprintf("%s: the newest was added %s", w.BundleID, whenAgo(*w.Newest, now))
}
