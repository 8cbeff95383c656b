package judge

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"revalidator/internal/dev/applesim"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// asked is an App Store whose customers are asked for again and again.
type asked struct {
	*applesim.Server
	t        *testing.T
	receipts []applesim.Receipt
}

func newAsked(t *testing.T, cfg applesim.Config) *asked {
	t.Helper()
	cfg.Start, cfg.LatestReceipt, cfg.LogSize = start, applesim.LatestEcho, 100_000
	sim, err := applesim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &asked{Server: sim, t: t}
	for r, err := range sim.Receipts() {
		if err != nil {
			t.Fatal(err)
		}
		s.receipts = append(s.receipts, r)
	}
	return s
}

// ask asks for every receipt.
func (s *asked) ask(excludeOld bool) {
	s.t.Helper()
	for _, r := range s.receipts {
		body, err := json.Marshal(map[string]any{
			"receipt-data": base64.StdEncoding.EncodeToString(r.Data), "password": s.Secrets(r.BundleID)[0],
			"exclude-old-transactions": excludeOld,
		})
		if err != nil {
			s.t.Fatal(err)
		}
		w := httptest.NewRecorder()
		path := "/" + strings.ToLower(r.Environment) + "/verifyReceipt"
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body))))
	}
}

// TestExpectedIsTheTruth asks once for customers in every state, and expects of
// each answer what is true: so the opinion on a whole answer is no other than the
// App Store's.
func TestExpectedIsTheTruth(t *testing.T) {
	t.Parallel()
	mix := applesim.DefaultMix()
	mix.TransactionStyle, mix.OfferCode = 0, 0.3
	s := newAsked(t, applesim.Config{Customers: 250, Mix: &mix})
	j := New(nil, s.Server)
	seen := map[string]int{}
	for range 5 {
		s.Clock().Advance(17 * 24 * time.Hour)
		s.ask(true)
		all := j.answers()
		for k, was := range j.truthAt(s.Clock().Now()) {
			list := all.dated(k, ms(s.Clock().Now()))
			if len(list) != 1 {
				t.Fatalf("%s: %d answers", k, len(list))
			}
			r := row{key: k, believed: was.believed, asOf: list[0].Dated, revoked: was.revoked, original: was.original}
			for id := range r.revoked {
				// Old ones are not shown, or as they were in the receipt.
				if k.table == subscriptionsTable && (list[0].shows(id) == nil || !list[0].shows(id).IsCurrent) {
					delete(r.revoked, id)
				}
			}
			if date := r.RevocationDate; date != 0 {
				r.revoked[r.TransactionID] = date
			}
			seen[r.Status]++
			e := belief{}.expected(list[0], all.of[k])
			if len(e) != 1 {
				t.Fatalf("%s: %d expectations", k, len(e))
			}
			if unlike := e[0].unlike(r); unlike != "" {
				t.Errorf("%s as of %s: %s", k, day(r.asOf), unlike)
			}
		}
	}
	for _, status := range []string{"active", "expired", "billing_retry", "billing_grace_period", "revoked"} {
		if seen[status] < 5 {
			t.Errorf("%s was seen %d times", status, seen[status])
		}
	}
}

// lived is the only customer of a story, followed from answer to answer.
type lived struct {
	*asked
	k key
	b belief
}

func newLived(t *testing.T, s applesim.Story) *lived {
	t.Helper()
	s.BundleID, s.Period = "com.example.reader", applesim.Monthly
	if s.Bought.IsZero() {
		s.Bought = start.AddDate(0, -1, -10)
	}
	l := &lived{asked: newAsked(t, applesim.Config{Stories: []applesim.Story{s}})}
	for k := range New(nil, l.Server).truthAt(start) {
		l.k = k
	}
	return l
}

// truth is the row as it is true now.
func (l *lived) truth() row {
	now := l.Clock().Now()
	was := New(nil, l.Server).truthAt(now)[l.k]
	r := row{key: l.k, believed: was.believed, asOf: now, revoked: map[string]int64{}, original: was.original}
	for id := range was.revoked {
		r.revoked[id] = cmp.Or(was.RevocationDate, 1)
	}
	return r
}

// answers asks by the rules after a time, and tells what is made of it.
func (l *lived) answer(after time.Duration, rules ...applesim.Rule) (list []answer, last answer) {
	l.t.Helper()
	l.Clock().Advance(after)
	for i := range rules {
		rules[i].Rate = 1
	}
	if err := l.SetFaults(rules); err != nil {
		l.t.Fatal(err)
	}
	l.ask(true)
	list = New(nil, l.Server).answers().of[l.k]
	return list, list[len(list)-1]
}

// know takes the truth of now for what is stored.
func (l *lived) know() row {
	l.t.Helper()
	_, a := l.answer(0)
	r := l.truth()
	l.b = l.b.became(&r, a)
	return r
}

// accepts reports whether a row may be what an answer leads to.
func (l *lived) accepts(a answer, list []answer, r row) bool {
	for _, e := range l.b.expected(a, list) {
		if e.unlike(r) == "" {
			return true
		}
	}
	return false
}

const oneDay = 24 * time.Hour

// TestOpinions describes one customer after the other what happens to them, what
// is then answered, and which rows follow from it and which do not.
func TestOpinions(t *testing.T) {
	t.Parallel()
	var (
		older     = applesim.Rule{Fault: applesim.FaultOlder}
		bare      = applesim.Rule{Fault: applesim.FaultBare}
		noRenewal = applesim.Rule{Fault: applesim.FaultNoRenewal}
		first     = applesim.Rule{Fault: applesim.FaultFirstDates}
		undated   = applesim.Rule{Fault: applesim.FaultUndated, Form: applesim.FormNull}
		lag       = func(d time.Duration) applesim.Rule {
			return applesim.Rule{Fault: applesim.FaultLag, Age: applesim.Duration(d)}
		}
	)
	type change = func(r *row, truth row)
	kept := func(*row, row) {}
	truth := func(r *row, truth row) { *r = truth }
	over := func(r *row, _ row) { r.Status = "expired" }
	newer := func(r *row, truth row) { r.asOf = truth.asOf }
	both := func(changes ...change) change {
		return func(r *row, truth row) {
			for _, c := range changes {
				c(r, truth)
			}
		}
	}
	renews := applesim.Story{}
	fails := applesim.Story{Acts: []applesim.Act{applesim.ActRenew, applesim.ActBillingLapse}}
	ahead := applesim.Story{Bought: start.AddDate(0, -1, 0).Add(20 * time.Hour), Acts: []applesim.Act{applesim.ActRefundAhead}}
	refunded := applesim.Story{Bought: start.AddDate(0, 0, -14), Acts: []applesim.Act{applesim.ActRefundReversed}}
	for _, test := range []struct {
		name  string
		life  applesim.Story
		known time.Duration // from start until the row is known
		// Steps are the answers since; rows are judged after the last.
		steps     []asking
		good, bad map[string]change
	}{
		{name: "an older period only", life: renews, steps: []asking{{time.Hour, []applesim.Rule{older}}},
			good: map[string]change{"kept": kept},
			bad: map[string]change{"the older one": func(r *row, _ row) {
				r.TransactionID, r.PurchaseDate, r.ExpiresDate = "400000000000001", ms(start.AddDate(0, -1, -10)), ms(start.AddDate(0, 0, -10))
			}, "over": over}},
		{name: "nothing, past the end", life: renews, steps: []asking{{30 * oneDay, []applesim.Rule{bare}}},
			good: map[string]change{"kept": kept}, bad: map[string]change{"over": both(over, newer)}},
		{name: "nothing on three days, past the end", life: renews,
			steps: []asking{{30 * oneDay, []applesim.Rule{bare}}, {oneDay, []applesim.Rule{bare}}, {oneDay, []applesim.Rule{bare}}},
			good:  map[string]change{"kept": kept, "over": both(over, newer)}},
		{name: "nothing three times in a day, past the end", life: renews,
			steps: []asking{{30 * oneDay, []applesim.Rule{bare}}, {time.Hour, []applesim.Rule{bare}}, {time.Hour, []applesim.Rule{bare}}},
			good:  map[string]change{"kept": kept}, bad: map[string]change{"over": both(over, newer)}},
		{name: "nothing on two days, with an answer between", life: renews,
			steps: []asking{{30 * oneDay, []applesim.Rule{bare}}, {oneDay, nil}, {oneDay, []applesim.Rule{bare}}, {oneDay, []applesim.Rule{bare}}},
			good:  map[string]change{"kept": kept}, bad: map[string]change{"over": both(over, newer)}},
		{name: "no renewal in grace", life: fails, known: 23 * oneDay, steps: []asking{{oneDay, []applesim.Rule{noRenewal}}},
			good: map[string]change{"in grace": newer},
			bad: map[string]change{"over": both(over, newer), "nothing of renewal": func(r *row, truth row) {
				r.asOf, r.AutoRenewStatus, r.AutoRenewProductID = truth.asOf, nil, ""
			}}},
		{name: "no renewal after grace", life: fails, known: 23 * oneDay, steps: []asking{{20 * oneDay, []applesim.Rule{noRenewal}}},
			good: map[string]change{"in billing retry": func(r *row, truth row) { r.asOf, r.Status = truth.asOf, "billing_retry" }},
			bad:  map[string]change{"in grace": newer, "over": both(over, newer)}},
		{name: "no renewal after billing retry", life: fails, known: 40 * oneDay, steps: []asking{{50 * oneDay, []applesim.Rule{noRenewal}}},
			good: map[string]change{"over": both(over, newer)}, bad: map[string]change{"in billing retry": newer}},
		{name: "no renewal in a new period", life: renews, steps: []asking{{30 * oneDay, []applesim.Rule{noRenewal}}},
			good: map[string]change{"nothing of renewal": func(r *row, truth row) {
				*r = truth
				r.AutoRenewStatus, r.AutoRenewProductID = nil, ""
			}},
			bad: map[string]change{"that of the old one": truth, "kept": newer}},
		{name: "a renewal refunded ahead", life: ahead, known: -oneDay, steps: []asking{{40 * time.Hour, nil}},
			good: map[string]change{"the running period": truth},
			bad: map[string]change{"the refunded one": func(r *row, truth row) {
				*r = truth
				r.TransactionID, r.Status = "400000000000002", "revoked"
			}}},
		{name: "a refund taken back, seen once", life: refunded, known: oneDay, steps: []asking{{3 * oneDay, nil}},
			good: map[string]change{"revoked": newer}, bad: map[string]change{"paid": truth}},
		{name: "a refund taken back, seen twice", life: refunded, known: oneDay, steps: []asking{{3 * oneDay, nil}, {oneDay, nil}},
			good: map[string]change{"paid": truth}, bad: map[string]change{"revoked": newer}},
		{name: "a refund taken back, seen twice in a day", life: refunded, known: oneDay, steps: []asking{{3 * oneDay, nil}, {23 * time.Hour, nil}},
			good: map[string]change{"revoked": newer}, bad: map[string]change{"paid": truth}},
		{name: "a refund seen as paid, and as a refund between", life: refunded, known: oneDay,
			steps: []asking{{time.Hour, []applesim.Rule{lag(2 * oneDay)}}, {time.Hour, nil}, {oneDay, []applesim.Rule{lag(3 * oneDay)}}},
			good:  map[string]change{"revoked": newer}, bad: map[string]change{"paid": func(r *row, truth row) { *r = truth; r.Status, r.RevocationDate, r.revoked = "active", 0, nil }}},
		{name: "a lag to before the renewal", life: renews, known: 22 * oneDay, steps: []asking{{time.Hour, []applesim.Rule{lag(10 * oneDay)}}},
			good: map[string]change{"kept": kept}, bad: map[string]change{"over": both(over, newer)}},
		{name: "other first dates", life: renews, steps: []asking{{time.Hour, []applesim.Rule{first}}},
			good: map[string]change{"the earliest": truth},
			bad:  map[string]change{"that of the period": func(r *row, truth row) { *r = truth; r.original = r.PurchaseDate + 1000 }}},
		{name: "no dates", life: renews, steps: []asking{{time.Hour, []applesim.Rule{undated}}},
			good: map[string]change{"kept": kept, "its renewal": newer}, bad: map[string]change{"over": both(over, newer)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLived(t, test.life)
			l.Clock().Advance(test.known)
			known := l.know()
			var list []answer
			var a answer
			for i, step := range test.steps {
				list, a = l.answer(step.after, step.rules...)
				if i+1 < len(test.steps) && !a.showsLess(l.b.row) {
					r := *l.b.row
					r.asOf = a.Dated
					l.b = l.b.became(&r, a)
				}
			}
			for want, changes := range map[bool]map[string]change{true: test.good, false: test.bad} {
				for name, change := range changes {
					r := known
					change(&r, l.truth())
					if got := l.accepts(a, list, r); got != want {
						t.Errorf("%s: accepted %v, want %v: %+v", name, got, want, r)
					}
				}
			}
		})
	}
}

// asking is an answer by some rules, after a time.
type asking struct {
	after time.Duration
	rules []applesim.Rule
}

// TestWrongClocks asks while the clock is off: by little, and by too much.
func TestWrongClocks(t *testing.T) {
	t.Parallel()
	for skew, want := range map[time.Duration]bool{
		0: true, 10 * time.Minute: true, -10 * time.Minute: true, 10*time.Minute + time.Second: false, -time.Hour: false, 64 * 365 * oneDay: false,
	} {
		l := newLived(t, applesim.Story{})
		if err := l.SetFaults([]applesim.Rule{{Fault: applesim.FaultClock, Rate: 1, Skew: applesim.Duration(cmp.Or(skew, 1))}}); err != nil {
			t.Fatal(err)
		}
		l.ask(true)
		j := New(nil, l.Server)
		all, good := j.answers(), 0
		for _, n := range j.GoodAnswers(0) {
			good += n
		}
		if (len(all.of) == 1) != want || all.off[ms(start.Add(skew))] == want || (good == 1) != want {
			t.Errorf("off by %s: %d rows told of, %d good answers, off: %v", skew, len(all.of), good, all.off)
		}
	}
}

// TestPastComplains spoils what came of a few answers.
func TestPastComplains(t *testing.T) {
	t.Parallel()
	bare := applesim.Rule{Fault: applesim.FaultBare}
	for _, test := range []struct {
		name  string
		story applesim.Story
		steps []asking
		spoil func(rows []row) []row
		want  string
	}{
		{"nothing", applesim.Story{}, []asking{{oneDay, nil}}, nil, ""},
		{"an answer that is not stored", applesim.Story{}, []asking{{oneDay, nil}}, func(rows []row) []row { return rows[:1] }, "is not stored"},
		{"nothing stored", applesim.Story{}, nil, func([]row) []row { return nil }, "was told"},
		{"live for ever", applesim.Story{}, []asking{{40 * oneDay, []applesim.Rule{bare}}, {oneDay, []applesim.Rule{bare}}, {oneDay, []applesim.Rule{bare}}}, func(rows []row) []row { return rows[:1] }, "is active still"},
		{"back in time", applesim.Story{}, []asking{{oneDay, nil}}, func(rows []row) []row { return []row{rows[1], rows[0]} }, "went back"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLived(t, test.story)
			l.know()
			rows := []row{l.truth()}
			for _, step := range test.steps {
				l.answer(step.after, step.rules...)
				if step.rules == nil {
					rows = append(rows, l.truth())
				}
			}
			if test.spoil != nil {
				rows = test.spoil(rows)
			}
			j := New(nil, l.Server)
			h := &past{answers: j.answers(), truth: j.truths(), now: l.Clock().Now(), told: telling{events: map[moment][]string{}}, imported: map[key]time.Time{l.k: start}}
			versions := map[key][]row{}
			if len(rows) > 0 {
				versions[l.k] = rows
				h.row(l.k, rows)
			}
			h.unstored(versions)
			got := strings.Join(append(h.wrong, h.events...), "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
