package judge

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"revalidator/internal/dev/applesim"
)

// GoodAnswers counts the good answers for each receipt in the App Store's log
// after a request, by sha-256 in hex. They are good by the App Store's account:
// the way back may have ruined them.
func (j *Judge) GoodAnswers(since int64) map[string]int {
	answers := make(map[string]int)
	for e := range j.log(since) {
		if isGood(e) {
			answers[e.ReceiptSHA256]++
		}
	}
	return answers
}

// log is the App Store's, without the faults that spoil nothing.
func (j *Judge) log(since int64) iter.Seq[applesim.Entry] {
	return func(yield func(applesim.Entry) bool) {
		entries := slices.Collect(j.sim.Log(since))
		whole := map[int64]bool{}
		if slices.ContainsFunc(entries, mayBeWhole) {
			for told := range j.sim.Told(since) {
				whole[told.Seq] = mayBeWhole(told.Entry) && isWhole(told)
			}
		}
		for _, e := range entries {
			if whole[e.Seq] {
				e.Fault = ""
			}
			if !yield(e) {
				return
			}
		}
	}
}

// expired is the fault of a status that an answer may have anyhow.
var expired = fmt.Sprintf("%s %d", applesim.FaultStatus, 21006)

// mayBeWhole is whether a fault spoils only some answers.
func mayBeWhole(e applesim.Entry) bool {
	return applesim.Fault(e.Fault) == applesim.FaultLongIDs || e.Fault == expired
}

// isWhole is whether such a fault spoiled nothing: no id was too long, and nothing
// that was told is active.
func isWhole(told applesim.Told) bool {
	return !told.Broken && (told.Fault != expired || !slices.ContainsFunc(told.Subscriptions, func(s applesim.ToldSubscription) bool {
		return slices.ContainsFunc(s.Periods, func(p applesim.ToldPeriod) bool {
			return p.ExpiresDate > ms(told.Dated) && p.CancellationDate == 0
		})
	}))
}

// isGood is whether a request was answered with facts that can be read and may be
// stored: 21006 is how receipts in the style of iOS 6 tell that their subscription
// has expired.
func isGood(e applesim.Entry) bool {
	return mayBeStored(e) && !isOff(e) && applesim.Fault(e.Fault) != applesim.FaultLongIDs
}

// mayBeStored is isGood whatever the time, and whether or not there is something
// in the answer for which it may be refused.
func mayBeStored(e applesim.Entry) bool {
	if e.Status == nil || *e.Status != 0 && *e.Status != 21006 {
		return false
	}
	switch applesim.Fault(e.Fault) {
	case "", applesim.FaultStale, applesim.FaultControl, applesim.FaultContentType,
		applesim.FaultLag, applesim.FaultOlder, applesim.FaultBare, applesim.FaultNoRenewal,
		applesim.FaultUndated, applesim.FaultFirstDates, applesim.FaultLongIDs:
		return true
	}
	return false
}

// asked compares the receipts that were due with the App Store's log. All of
// them were: the harness makes them so before the run.
func (j *Judge) asked(ctx context.Context, c Case, v *Verdict) error {
	const query = `
		SELECT encode(sha256, 'hex'), id, coalesce(last_error, ''), coalesce(last_checked_at, '-infinity') >= $1,
		       next_check_at IS NOT NULL OR next_check_rule = 'settled', covered_by IS NOT NULL
		FROM receipts WHERE kind <> 'xcode' ORDER BY id`
	rows, err := j.db.QueryContext(ctx, query, c.Started)
	if err != nil {
		return fmt.Errorf("receipts: %w", err)
	}
	defer func() { _ = rows.Close() }()
	answers := j.GoodAnswers(c.Since)
	var lost []string
	for rows.Next() {
		var sum, failure string
		var id int64
		var checked, dueAgain, covered bool
		if err := rows.Scan(&sum, &id, &failure, &checked, &dueAgain, &covered); err != nil {
			return fmt.Errorf("receipts: %w", err)
		}
		v.Receipts++
		if covered && answers[sum] == 0 && failure == "" && dueAgain {
			v.Rested++ // see covered
			continue
		}
		if answers[sum] > 0 {
			v.Asked++
			v.Duplicates += answers[sum] - 1
		}
		if answers[sum] == 0 || failure != "" || !checked || !dueAgain {
			lost = append(lost, fmt.Sprintf("receipt %d: %d good answers, result stored: %v, error %q, due again: %v", id, answers[sum], checked, failure, dueAgain))
		}
	}
	v.Lost += v.complainAll("lost", lost)
	if v.Duplicates > c.Duplicates {
		v.complain("asked again: %d good answers too many, want %d at most", v.Duplicates, c.Duplicates)
	}
	return rows.Err()
}

// rate looks at every window of the log, however long: it may hold the burst,
// and the calls that the rate allows for its length.
func (j *Judge) rate(_ context.Context, c Case, v *Verdict) error {
	times := map[string][]time.Time{}
	for e := range j.sim.Log(c.Since) {
		if e.BundleID != "" {
			budget := e.BundleID + "/" + e.Environment
			times[budget] = append(times[budget], e.RealTime)
		}
	}
	for budget, asked := range times {
		slices.SortFunc(asked, time.Time.Compare)
		if lead := Lead(asked, c.Rate, c.Burst); lead > c.RateSlack {
			v.complain("rate: %s is %s ahead of its rate, want at most %s", budget, lead.Round(time.Millisecond), c.RateSlack)
		}
	}
	return nil
}

// Lead is by how much the calls of any window are more than its burst and its
// rate allow, as the time in which the rate would allow them.
func Lead(times []time.Time, rate float64, burst int) time.Duration {
	var lead, latest time.Duration
	for i, at := range times {
		// A window that starts with call i begins to count from here.
		start := at.Sub(times[0]) - time.Duration(float64(i)/rate*float64(time.Second))
		if i == 0 || start > latest {
			latest = start
		}
		lead = max(lead, latest-start-time.Duration(float64(burst)/rate*float64(time.Second)))
	}
	return lead
}
