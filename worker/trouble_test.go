package worker_test

import (
	"regexp"
	"strings"
	"testing"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/ratelimit"
)

const (
	opened = "calls for an app fail: they are held back"
	closed = "calls are answered again: they are resumed"
)

// tasksOfAll claims every receipt, which makes those due that wait, and puts
// them on the queue.
func (s *site) tasksOfAll(customers int) {
	s.t.Helper()
	_, err := s.sql.ExecContext(s.t.Context(), `UPDATE receipts SET next_check_at = $1`, s.present)
	must(s.t, err)
	s.enqueue(s.claim(customers))
}

// passPause lets the pause of the open breaker be over.
func (s *site) passPause() {
	s.t.Helper()
	for _, key := range []string{"health", "limits"} {
		key = "revalidator:rate:{verify_receipt:Production}/" + key
		for field, value := range s.redis.HGetAll(s.t.Context(), key).Val() {
			value = regexp.MustCompile(`"Until":\d{2,}`).ReplaceAllString(value, `"Until":1`)
			value = regexp.MustCompile(`^\d{2,} (\d+ \d+ \d+ \d+)$`).ReplaceAllString(value, `1 $1`)
			must(s.t, s.redis.HSet(s.t.Context(), key, field, value).Err())
		}
	}
}

// TestBreakerEndToEnd has Apple fail in different ways for everybody, and
// recover: no receipt is marked, none is lost, and few are asked in vain.
func TestBreakerEndToEnd(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]applesim.Rule{
		"503 with HTML":        {Fault: applesim.FaultHTTP, Status: 503},
		"connections reset":    {Fault: applesim.FaultReset},
		"21005":                {Fault: applesim.FaultCode, Status: 21005},
		"21199":                {Fault: applesim.FaultCode, Status: 21199},
		"21002 for good ones":  {Fault: applesim.FaultCode, Status: 21002},
		"HTML and 200":         {Fault: applesim.FaultHTML},
		"replies that are cut": {Fault: applesim.FaultCut, Fraction: 0.3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const customers = 80
			s := newSite(t, customers, 1000)
			fault.Rate = 1
			must(t, s.sim.SetFaults([]applesim.Rule{fault}))
			s.tasksOfAll(customers)
			stop := s.start(s.worker())
			defer stop()
			s.await("an empty queue", s.idle)

			// 19 answers were failures before the one that opened it.
			if got := s.count(`SELECT count(*) FROM receipts WHERE consecutive_failures = 1`); got != 19 {
				t.Errorf("%d receipts count a failure, want 19", got)
			}
			if got := s.count(`SELECT count(*) FROM receipts WHERE state <> 'new'`); got != 0 {
				t.Errorf("%d receipts are marked", got)
			}
			if got := s.count(`SELECT count(*) FROM receipts WHERE next_check_rule = 'held_back' AND claimed_until IS NULL AND next_check_at > now()`); got != customers-19 {
				t.Errorf("%d receipts are given back with a due time, want %d", got, customers-19)
			}
			// Those that were on their way when it opened, and no more.
			if got := s.calls(); got > 19+32 {
				t.Errorf("%d calls, want no more than %d", got, 19+32)
			}
			if got := strings.Count(s.log.String(), opened); got != 1 {
				t.Errorf("%d alarms, want one", got)
			}

			s.passPause()
			s.tasksOfAll(customers)
			s.await("bad probes", s.idle)
			// A probe is a question that was asked; no other receipt pays for it.
			if got := s.count(`SELECT sum(consecutive_failures) FROM receipts`); got < 20 || got > 22 {
				t.Errorf("%d failures after up to 3 bad probes, want 20 to 22", got)
			}
			must(t, s.sim.SetFaults(nil))
			s.passPause()
			for s.count(`SELECT count(*) FROM receipts WHERE state = 'new'`) > 0 {
				s.tasksOfAll(customers)
				s.await("an empty queue", s.idle)
			}
			if got := s.count(`SELECT count(*) FROM receipts WHERE state = 'valid'`); got != customers {
				t.Errorf("%d receipts are valid in the end, want %d", got, customers)
			}
			if got := strings.Count(s.log.String(), opened); got != 1 {
				t.Errorf("%d alarms in the end, want one", got)
			}
			if got := strings.Count(s.log.String(), closed); got != 1 {
				t.Errorf("it was said %d times that Apple answers again, want once", got)
			}
		})
	}
}

// TestRateGivesWayEndToEnd has Apple limit one call, with and without saying for
// how long.
func TestRateGivesWayEndToEnd(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]applesim.Rule{
		"429":                  {Fault: applesim.FaultHTTP, Status: 429},
		"429 with Retry-After": {Fault: applesim.FaultHTTP, Status: 429, RetryAfter: 5e9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 1, 1000)
			fault.Rate = 1
			must(t, s.sim.SetFaults([]applesim.Rule{fault}))
			s.tasksOfAll(1)
			stop := s.start(s.worker())
			s.await("an empty queue", s.idle)
			stop()
			limiter, err := ratelimit.New(ratelimit.Config{Redis: s.redis})
			must(t, err)
			states, err := limiter.Impaired(t.Context())
			must(t, err)
			if len(states) != 1 || states[0].Open || states[0].Share < 0.5 || states[0].Share > 0.51 {
				t.Errorf("budget: %+v, want half the rate", states)
			}
		})
	}
}
