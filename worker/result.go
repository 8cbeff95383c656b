package worker

import (
	"fmt"
	"strings"
	"time"

	"github.com/hibiken/asynq"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
)

// lostClaim is the result of a task that came too late. It may have stored its
// result before, by a commit of which it heard nothing.
const lostClaim = "the claim is gone: its result is stored already, or another task has it"

// show leaves a sentence on a task for whoever looks at it on the web pages.
// It comes after everything that counts, and that it failed is no matter.
func (w *Worker) show(task *asynq.Task, text string) {
	if !w.cfg.ShowResults {
		return
	}
	if _, err := task.ResultWriter().Write([]byte(text)); err != nil {
		w.cfg.Logger.Debug("write result", "task_id", task.ResultWriter().TaskID(), "error", err)
	}
}

// failedCheck ends the task of a check that failed, and is stored: asynq counts it as
// failed, and keeps the last 10,000 of a queue with this sentence, the oldest of them
// for 90 days. Nothing runs it again.
type failedCheck string

func (f failedCheck) Error() string { return string(f) }

// Unwrap has asynq archive the task at once.
func (failedCheck) Unwrap() error { return asynq.SkipRetry }

// inVain is a check with calls to Apple, and without a usable response.
func inVain(o claim.Outcome) bool { return o.Failure != "" && (o.Asked || o.Calls > 0) }

// describe says what became of a receipt, and when it is looked at next and by
// which rule. It stays below 200 bytes, and names nothing that a customer
// bought or sent.
func describe(o claim.Outcome, saved bool) string {
	if !saved {
		return lostClaim
	}
	if o.Verdict != nil {
		return found(o) + "; quarantined as " + words(string(o.Verdict.State)) + "; " + next(o)
	}
	return found(o) + "; " + next(o)
}

func found(o claim.Outcome) string {
	text := words(o.Failure)
	switch {
	case o.Conclusion != nil:
		return concluded(*o.Conclusion)
	case o.Rests:
		return "not asked: another receipt shows the same, and was checked"
	case text == "":
		return "not checked, claim released"
	case o.Code != nil:
		return fmt.Sprintf("failed, %s (status %d)", text, *o.Code)
	case !o.Asked && o.Calls == 0:
		return "not asked, " + text
	}
	return "failed, " + text
}

// concluded tells one subscription with the end of its period, and more of them
// by status.
func concluded(c iap.Conclusion) string {
	switch len(c.Subscriptions) {
	case 0:
		return fmt.Sprintf("no subscriptions, purchases: %d", len(c.Purchases))
	case 1:
		return standing(c.Subscriptions[0])
	}
	counts := make(map[iap.Status]int)
	for _, s := range c.Subscriptions {
		counts[s.Status]++
	}
	var parts []string
	for _, status := range iap.Statuses() {
		if n := counts[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, words(string(status))))
		}
	}
	return "subscriptions: " + strings.Join(parts, ", ")
}

func standing(s iap.Subscription) string {
	switch s.Status {
	case iap.StatusActive:
		return "active until " + when(s.ExpiresDate)
	case iap.StatusExpired:
		return "expired since " + when(s.ExpiresDate)
	}
	return words(string(s.Status))
}

// soon is how near a time must be for a wait to say more than a date.
const soon = time.Hour

func next(o claim.Outcome) string {
	wait := o.NextCheck.At.Sub(o.At)
	switch {
	case o.NextCheck.At.IsZero() && !o.Asked && !o.Rests:
		return "due as before"
	case o.NextCheck.At.IsZero():
		return "no next check: " + words(string(o.NextCheck.Rule))
	case o.Failure != "" && wait < soon:
		return "checked again in " + max(wait, time.Second).Round(time.Second).String()
	}
	return "next check " + when(o.NextCheck.At) + " by " + words(string(o.NextCheck.Rule))
}

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

func words(name string) string { return strings.ReplaceAll(name, "_", " ") }
