package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"revalidator/internal/runs"
	"revalidator/internal/terminal"
	"revalidator/jobs"
)

// TestQueueOfAnotherInstallation has two databases on one Redis. Everything of the
// second is refused with what to do, until a person adopts the queue for it.
func TestQueueOfAnotherInstallation(t *testing.T) {
	t.Parallel()
	first, second := newSession(t), newSession(t)
	second.set("REDIS_URL", first.get("REDIS_URL"))
	first.openShop(t, 2)
	second.openShop(t, 2)
	first.must(t, "run", "--worker", "--quiet")
	for _, args := range [][]string{{"scheduler"}, {"worker"}, {"ui", "--addr", "127.0.0.1:0"}, {"run", "--worker"}, {"backfill", "--all"}} {
		o := second.run(t, args...)
		if o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "holds the queue of another installation") || !strings.Contains(o.stderr, "'revalidator queue adopt'") {
			t.Errorf("%s: exit code %d, want %d and a refusal that says what to do:\n%s", args[0], o.code, terminal.ExitFailure, o.stderr)
		}
	}
	second.transcript.Reset()
	if o := second.must(t, "status"); !strings.Contains(strings.Join(strings.Fields(o.stdout), " "), "queue of another installation") {
		t.Errorf("status does not say whose the queue is:\n%s", o.stdout)
	}
	second.transcript.Reset()
	second.run(t, "queue", "adopt")
	second.must(t, "queue", "adopt", "--yes")
	second.must(t, "queue", "adopt", "--yes", "--json")
	golden(t, "queue.txt", second.transcript.String())
	if o := second.must(t, "run", "--worker"); !strings.Contains(o.stdout, "finished") {
		t.Errorf("a run after the adoption:\n%s", o.stdout)
	}
	if o := first.run(t, "run"); o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "another installation") {
		t.Errorf("the former owner: exit code %d, want %d\n%s", o.code, terminal.ExitFailure, o.stderr)
	}
}

// TestAdoptIsRefusedWhileTheOtherRuns has a scheduler of the other installation
// running.
func TestAdoptIsRefusedWhileTheOtherRuns(t *testing.T) {
	t.Parallel()
	first, second := newSession(t), newSession(t)
	second.set("REDIS_URL", first.get("REDIS_URL"))
	scheduler := first.start(t, nil, "scheduler")
	scheduler.stderr.waitFor(t, "scheduler started")
	client := first.redis(t)
	eventually(t, "the scheduler is present", func() bool { return client.HLen(t.Context(), "revalidator:presence").Val() == 1 })
	if o := second.run(t, "queue", "adopt", "--yes"); o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "stop it first") {
		t.Errorf("exit code %d, want %d and what to do:\n%s", o.code, terminal.ExitFailure, o.stderr)
	}
	scheduler.stop(t)
	second.must(t, "queue", "adopt", "--yes")
}

// TestServicesEndWhereTheQueueIsAnothers takes the queue away from services that run.
func TestServicesEndWhereTheQueueIsAnothers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"scheduler", "worker"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			service := s.start(t, nil, name)
			service.stderr.waitFor(t, name+" started")
			other := jobs.NewQueue(s.redis(t), time.Minute).Of(func() jobs.Owner { return jobs.Owner{Installation: "5e1f00000000"} })
			if _, err := other.Adopt(t.Context()); err != nil {
				t.Fatal(err)
			}
			if code := service.wait(t); code != terminal.ExitFailure || !strings.Contains(service.stderr.text(), "another installation") {
				t.Errorf("exit code %d, want %d and why:\n%s", code, terminal.ExitFailure, service.stderr.text())
			}
		})
	}
}

// TestRunAfterARestoreInPlace restores the tables of a database whose finished tasks
// are still in Redis: its claims are made again under generations that have tasks.
func TestRunAfterARestoreInPlace(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.set("REVALIDATOR_RETENTION", "1h")
	s.openShop(t, 4)
	s.must(t, "run", "--worker", "--quiet")
	s.exec(t, `UPDATE receipts SET generation = 0, next_check_at = created_at, next_check_rule = 'new'`)
	var run runs.Totals
	if err := json.Unmarshal([]byte(s.must(t, "run", "--worker", "--json").stdout), &run); err != nil {
		t.Fatal(err)
	}
	if run.Counted() < 4 || run.Done != run.Counted() {
		t.Errorf("%d of %d done, want all", run.Done, run.Counted())
	}
}
