package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/quarantine"
)

// quarantineTest is a line of the table of quarantine as it has to be.
type quarantineTest struct {
	class         string
	cause         error
	state         iap.ReceiptState
	new, accepted quarantine.Repeats // the zero value is never
	weekly        bool
}

func repeats(failures, days int) quarantine.Repeats {
	return quarantine.Repeats{Failures: failures, Days: days}
}

func quarantineTests() []quarantineTest {
	return []quarantineTest{
		{"receipt_malformed", status(21002), iap.ReceiptMalformed, repeats(10, 2), repeats(30, 3), true},
		{"receipt_not_authenticated", status(21003), iap.ReceiptNotAuthenticated, repeats(10, 2), repeats(30, 3), true},
		{"account_gone", status(21010), iap.ReceiptAccountGone, repeats(3, 3), repeats(3, 3), false},
		{"wrong_app", asked(&appstore.WrongAppError{}), iap.ReceiptWrongApp, repeats(3, 3), quarantine.Repeats{}, false},
		{"request_too_large", asked(&appstore.HTTPError{StatusCode: 413, NearLimit: true}), iap.ReceiptTooLarge, repeats(3, 3), repeats(3, 3), false},
		{"too_large_to_send", appstore.ErrTooLargeToSend, iap.ReceiptTooLarge, repeats(1, 1), repeats(3, 3), false},
		{"panicked", errPanicked, iap.ReceiptQuarantined, repeats(3, 1), repeats(3, 3), false},
		{"save_refused", errSaveRefused, iap.ReceiptQuarantined, repeats(3, 3), repeats(3, 3), false},
	}
}

// acceptedBefore is a receipt that Apple accepted a week ago. What was made of it
// since does not matter.
func acceptedBefore(state iap.ReceiptState) claim.Receipt {
	r := claimed()
	r.State, r.AcceptedAt, r.LastCheckedAt = state, noon.Add(-week), noon.Add(-week)
	return r
}

// failsOn fails a receipt at each of the times, in hours after noon, and returns
// after how many of them a verdict was passed, 0 where none was.
func (p parts) failsOn(t *testing.T, r claim.Receipt, cause error, hours ...float64) (int, *quarantine.Verdict) {
	t.Helper()
	for i, h := range hours {
		p.clock.now = noon.Add(time.Duration(h * float64(time.Hour)))
		o := p.failOnce(t, &r, cause)
		if o.Verdict != nil {
			return i + 1, o.Verdict
		}
		if o.NextCheck.At.IsZero() {
			t.Fatalf("failure %d leaves the receipt without a next check, and without a verdict: %+v", i+1, o)
		}
	}
	return 0, nil
}

// spread are n times, of which the last days-1 are on days of their own.
func spread(n, days int) []float64 {
	hours := make([]float64, n)
	for i := range hours {
		hours[i] = float64(i) / float64(n) // all within an hour
		if later := i - (n - days); later > 0 {
			hours[i] = float64(24 * later)
		}
	}
	return hours
}

// TestQuarantineTable goes through the table row by row, for receipts that Apple
// never accepted and for those that it did: one failure less is not enough, and
// neither is one day less.
func TestQuarantineTable(t *testing.T) {
	t.Parallel()
	for _, test := range quarantineTests() {
		for name, row := range map[string]struct {
			receipt claim.Receipt
			needed  quarantine.Repeats
		}{
			"new":                            {claimed(), test.new},
			"accepted before":                {acceptedBefore(iap.ReceiptValid), test.accepted},
			"accepted before, and released":  {acceptedBefore(iap.ReceiptNew), test.accepted},
			"accepted before, other verdict": {acceptedBefore(otherThan(test.state)), test.accepted},
		} {
			t.Run(test.class+" of a receipt "+name, func(t *testing.T) {
				t.Parallel()
				p := newParts(t, nil)
				if row.needed == (quarantine.Repeats{}) {
					if at, _ := p.failsOn(t, row.receipt, test.cause, spread(100, 90)...); at > 0 {
						t.Errorf("quarantined at failure %d, want never", at)
					}
					return
				}
				enough := spread(row.needed.Failures, row.needed.Days)
				at, verdict := p.failsOn(t, row.receipt, test.cause, enough...)
				want := &quarantine.Verdict{State: test.state, NextCheck: iap.Check{Rule: iap.RuleSetAside}}
				if test.weekly {
					want.NextCheck = iap.Check{At: p.clock.Now().Add(week), Rule: iap.RuleConfirm}
				}
				if at != row.needed.Failures {
					t.Errorf("quarantined at failure %d, want %d", at, row.needed.Failures)
				}
				if diff := cmp.Diff(want, verdict); diff != "" {
					t.Errorf("verdict (-want +got)\n%s", diff)
				}
				if days := row.needed.Days - 1; days > 0 {
					if at, _ := p.failsOn(t, row.receipt, test.cause, spread(100, days)...); at > 0 {
						t.Errorf("quarantined at failure %d of %d days, want never before another day", at, days)
					}
				}
			})
		}
	}
}

func otherThan(state iap.ReceiptState) iap.ReceiptState {
	if state == iap.ReceiptMalformed {
		return iap.ReceiptNotAuthenticated
	}
	return iap.ReceiptMalformed
}

// TestAcceptedReceiptsNeedThreeDays is the law that every line of the table keeps,
// those that come later too: a class without a line, and an error without a class,
// quarantine nothing.
func TestAcceptedReceiptsNeedThreeDays(t *testing.T) {
	t.Parallel()
	causes := map[string]error{}
	for _, test := range verdictTests() {
		causes[test.name] = test.err
	}
	for name, cause := range causes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, nil)
			r := acceptedBefore(iap.ReceiptValid)
			for i := range 100 { // in two days
				p.clock.now = noon.Add(time.Duration(i) * 20 * time.Minute)
				o, err := p.conclude(t.Context(), r, Answer{Calls: 1}, cause)
				if err != nil {
					t.Fatal(err)
				}
				if o.Verdict != nil || o.State.Quarantined() || o.Asked && o.NextCheck.At.IsZero() {
					t.Fatalf("failure %d in two days: %+v", i+1, o)
				}
				if o.Asked {
					r.ConsecutiveFailures++
					r.FailuresAlike, r.AlikeDays = alike(r, o.Failure, o.At)
					r.LastFailure, r.LastCheckedAt = o.Failure, o.At
				}
			}
		})
	}
	for _, rule := range quarantine.Rules() {
		if n := rule.Accepted; n != (quarantine.Repeats{}) && (n.Failures < 3 || n.Days < 3) {
			t.Errorf("%s: %+v, want 3 failures on 3 days at least", rule.Class, n)
		}
	}
}

// TestQuarantineTableIsWhole holds the table of errors and the table of quarantine
// to each other, and each line to a row above.
func TestQuarantineTableIsWhole(t *testing.T) {
	t.Parallel()
	tested, accusing := map[string]bool{}, map[string]bool{}
	for _, test := range quarantineTests() {
		tested[test.class] = true
		if got := classified(test.cause); got.Name != test.class || got.Action != Accuse {
			t.Errorf("%v: got class %s and action %d, want %s, which accuses", test.cause, got.Name, got.Action, test.class)
		}
	}
	for _, v := range allClasses() {
		if v.Action == Accuse {
			accusing[v.Name] = true
		}
	}
	lines := map[string]bool{}
	for _, rule := range quarantine.Rules() {
		lines[rule.Class] = true
		if !rule.State.Quarantined() {
			t.Errorf("%s: state %s is none of quarantine", rule.Class, rule.State)
		}
	}
	if diff := cmp.Diff(lines, accusing); diff != "" {
		t.Errorf("classes that accuse (-table of quarantine +table of errors)\n%s", diff)
	}
	if diff := cmp.Diff(lines, tested); diff != "" {
		t.Errorf("classes with a row in the test (-want +got)\n%s", diff)
	}
}

// TestOtherFailuresStartAgain has Apple say that a receipt is bad, with trouble in
// between that says nothing about it.
func TestOtherFailuresStartAgain(t *testing.T) {
	t.Parallel()
	for _, test := range quarantineTests() {
		if test.new == (repeats(1, 1)) {
			continue
		}
		t.Run(test.class, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, nil)
			r := claimed()
			for range 30 {
				p.failOnce(t, &r, asked(appstore.ErrTimeout))
			}
			for i := range 60 {
				p.clock.advance(30 * time.Hour)
				cause := test.cause
				if i%(test.new.Failures) == 1 {
					cause = asked(appstore.ErrTimeout)
				}
				if o := p.failOnce(t, &r, cause); o.Verdict != nil {
					t.Fatalf("failure %d: verdict %+v, and it was never said %d times in a row", i+1, o.Verdict, test.new.Failures)
				}
			}
		})
	}
}

// TestDaysAreOfUTC has three failures around a midnight, in a zone that has
// another one.
func TestDaysAreOfUTC(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("UTC+9", 9*3600)
	r := claim.Receipt{LastFailure: "account_gone", FailuresAlike: 1, AlikeDays: 1, LastCheckedAt: time.Date(2026, 3, 1, 23, 59, 0, 0, time.UTC)}
	for at, want := range map[time.Time]string{
		time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC): "2 1",
		time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC):    "2 2",
		time.Date(2026, 3, 2, 8, 59, 59, 0, zone):      "2 1",
		time.Date(2026, 3, 2, 9, 0, 0, 0, zone):        "2 2",
		// A clock that was set back makes no new day.
		time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC): "2 1",
	} {
		failures, days := alike(r, "account_gone", at)
		if got := fmt.Sprint(failures, days); got != want {
			t.Errorf("at %v: got %s failures and days, want %s", at, got, want)
		}
	}
}

// TestInQuarantineForIt is checked again by its rule, and no new verdict is passed.
func TestInQuarantineForIt(t *testing.T) {
	t.Parallel()
	for _, test := range quarantineTests() {
		p := newParts(t, nil)
		r := acceptedBefore(test.state)
		r.LastFailure, r.FailuresAlike, r.AlikeDays = test.class, 90, 9
		o, err := p.conclude(t.Context(), r, Answer{Calls: 1}, test.cause)
		if err != nil || o.Verdict != nil || o.NextCheck != rest(quarantineRule(test.class), noon) || o.Stays {
			t.Errorf("%s: got %+v and %v", test.class, o, err)
		}
	}
}

// TestStoppedAppsAreCheckedDaily has a receipt that would wait for a week until
// what is said of it is believed, while nothing is believed.
func TestStoppedAppsAreCheckedDaily(t *testing.T) {
	t.Parallel()
	p := newParts(t, nil)
	r := acceptedBefore(iap.ReceiptValid)
	r.LastFailure, r.FailuresAlike, r.AlikeDays, r.LastCheckedAt = "account_gone", 1, 1, noon.Add(-aDay)
	for stopped, want := range map[bool]time.Duration{false: week, true: aDay} {
		if r.App.QuarantineStoppedAt = nil; stopped {
			r.App.QuarantineStoppedAt = &noon
		}
		o, err := p.conclude(t.Context(), r, Answer{Calls: 1}, status(21010))
		if got := o.NextCheck.At.Sub(noon); err != nil || got != want {
			t.Errorf("stopped is %t: next check after %v (%v), want %v", stopped, got, err, want)
		}
	}
}

// TestFiguresCountAReceiptOnceADay, whatever comes one after the other on it.
func TestFiguresCountAReceiptOnceADay(t *testing.T) {
	t.Parallel()
	malformed, notAuthenticated, timeout := status(21002), status(21003), asked(appstore.ErrTimeout)
	for name, test := range map[string]struct {
		causes  []error // again and again; nil is a success
		accused int     // in two days
	}{
		"two classes that accuse":         {[]error{malformed, notAuthenticated}, 2},
		"one that accuses, and trouble":   {[]error{malformed, timeout}, 2},
		"trouble, and one that accuses":   {[]error{timeout, malformed}, 1},
		"one that accuses, and successes": {[]error{malformed, nil}, 2},
		"successes, and one that accuses": {[]error{nil, malformed}, 0},
		"each of them":                    {[]error{malformed, timeout, nil, notAuthenticated}, 2},
		"trouble first, and then accused": {[]error{timeout, timeout, timeout, timeout, timeout, timeout, malformed}, 2}, // the second day begins with it
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, nil)
			r := acceptedBefore(iap.ReceiptValid)
			checked, accused := map[time.Time]int{}, map[time.Time]int{}
			for i := range 40 {
				p.clock.now = noon.Add(time.Duration(i/20)*aDay + time.Duration(i%20)*time.Minute)
				cause, answer := test.causes[i%len(test.causes)], Answer{Calls: 1}
				if cause == nil {
					answer = answerOf(accepted())
				}
				o, err := p.conclude(t.Context(), r, answer, cause)
				if err != nil {
					t.Fatal(err)
				}
				if o.CountsChecked {
					checked[day(o.At)]++
				}
				if o.CountsAccused {
					accused[day(o.At)]++
				}
				r.FailuresAlike, r.AlikeDays = alike(r, o.Failure, o.At)
				r.ConsecutiveFailures++
				if o.Failure == "" {
					r.ConsecutiveFailures, r.FailuresAlike, r.AlikeDays, r.AcceptedAt = 0, 0, 0, o.At
				}
				r.LastFailure, r.LastCheckedAt = o.Failure, o.At
			}
			days := 0
			for on, n := range accused {
				if days += n; n > 1 || checked[on] != n {
					t.Errorf("on %s counted %d times as accused and %d as checked, want each once", on, n, checked[on])
				}
			}
			if days != test.accused {
				t.Errorf("counted as accused on %d days, want %d", days, test.accused)
			}
		})
	}
}

// TestFigures has a row for each way in which an outcome counts.
func TestFigures(t *testing.T) {
	t.Parallel()
	yesterday, morning := noon.Add(-aDay), noon.Add(-2*time.Hour)
	receipt := func(acceptedAt, checkedAt time.Time, failure string) claim.Receipt {
		r := claimed()
		r.State, r.AcceptedAt, r.LastCheckedAt, r.LastFailure = iap.ReceiptValid, acceptedAt, checkedAt, failure
		return r
	}
	quarantined := receipt(yesterday, yesterday, "account_gone")
	quarantined.State = iap.ReceiptAccountGone
	// trouble is a receipt with failures in a row today, the last of them a timeout.
	trouble := func(inARow, timeouts int) claim.Receipt {
		r := receipt(yesterday, morning, "timeout")
		r.ConsecutiveFailures, r.FailuresAlike = inARow, timeouts
		return r
	}
	type counts struct{ Checked, Accused bool }
	for name, test := range map[string]struct {
		receipt claim.Receipt
		cause   error
		want    counts
	}{
		"a success":                                {receipt(yesterday, yesterday, ""), nil, counts{true, false}},
		"a second success of the day":              {receipt(morning, morning, ""), nil, counts{}},
		"a success after an accusation of the day": {receipt(yesterday, morning, "account_gone"), nil, counts{}},
		"a success after trouble of the day":       {receipt(yesterday, morning, "timeout"), nil, counts{true, false}},
		"an accusation":                            {receipt(yesterday, yesterday, ""), status(21010), counts{true, true}},
		"the same one on another day":              {receipt(yesterday.Add(-aDay), yesterday, "account_gone"), status(21010), counts{true, true}},
		"the same one on the same day":             {receipt(yesterday, morning, "account_gone"), status(21010), counts{}},
		"another one on the same day":              {receipt(yesterday, morning, "account_gone"), status(21003), counts{}},
		// It may have been accused before that success.
		"an accusation after a success of the day":   {receipt(morning, morning, ""), status(21003), counts{}},
		"an accusation after trouble of the day":     {trouble(3, 3), status(21003), counts{true, true}},
		"an accusation after trouble and other":      {trouble(3, 1), status(21003), counts{}},
		"a success after trouble and other failures": {trouble(3, 1), nil, counts{}},
		"a panic":                          {receipt(yesterday, yesterday, ""), errPanicked, counts{true, true}},
		"a timeout says nothing":           {receipt(yesterday, yesterday, ""), asked(appstore.ErrTimeout), counts{}},
		"a limit says nothing":             {receipt(yesterday, yesterday, ""), httpStatus(429), counts{}},
		"somebody else's 413 says nothing": {receipt(yesterday, yesterday, ""), httpStatus(413), counts{}},
		"a new receipt is not counted":     {claimed(), status(21010), counts{}},
		"nor its first success":            {claimed(), nil, counts{}},
		"nor one in quarantine":            {quarantined, status(21010), counts{}},
		"nor its success":                  {quarantined, nil, counts{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, nil)
			answer := Answer{Calls: 1}
			if test.cause == nil {
				answer = answerOf(accepted())
			}
			o, err := p.conclude(t.Context(), test.receipt, answer, test.cause)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, counts{o.CountsChecked, o.CountsAccused}); diff != "" {
				t.Errorf("counts (-want +got)\n%s", diff)
			}
		})
	}
}
