package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/jobs"
)

// feed measures the scheduler: how fast it claims and enqueues, and what that
// takes in time and memory where a lot is due.
func (b *bench) feed(ctx context.Context) error {
	perSecondFed, err := b.fed(ctx, b.size(100_000))
	if err != nil {
		return err
	}
	b.table.add(row{name: b.name("Feed"), what: "due receipts claimed and enqueued by one scheduler"}.speed(perSecondFed, 10_000))
	ten, hundred, million := b.size(10_000), b.size(100_000), b.size(1_000_000)
	costs := make(map[int][]time.Duration)
	var peaks drained
	// The smaller ones before and after, so that a machine that is slow for a while
	// is so for all of them; ten thousand take a second, which is short for a figure.
	for _, due := range []int{ten, ten, hundred, million, hundred, ten, ten} {
		d, err := b.drained(ctx, due)
		if err != nil {
			return err
		}
		if costs[due] = append(costs[due], d.each); due == million {
			peaks = d
		}
	}
	what := fmt.Sprintf("%d receipts due", million)
	b.table.add(row{name: b.name("SchedulerMemory"), what: what + ", peak memory of the scheduler"}.memory(peaks.scheduler, 64<<20))
	b.table.add(row{name: b.name("RedisMemory"), what: what + ", peak memory of Redis"}.memory(peaks.redis, 64<<20))
	var worst float64
	var each []string
	for _, due := range []int{ten, hundred, million} {
		worst = max(worst, float64(mean(costs[due]))/float64(mean(costs[ten])))
		each = append(each, mean(costs[due]).Round(time.Microsecond).String())
	}
	b.table.add(row{
		name: b.name("FeedCPU"), what: "CPU to feed a receipt where 10⁴, 10⁵, 10⁶ are due",
		figure: figure{value: float64(peaks.each), unit: unitTime, rank: worst},
		ours:   strings.Join(each, ", "), ratio: times(worst), target: "≤ 1.15×", met: worst <= 1.15,
	})
	return nil
}

func mean(all []time.Duration) (sum time.Duration) {
	for _, d := range all {
		sum += d
	}
	return sum / time.Duration(len(all))
}

// fed is how many receipts a second one scheduler feeds to an empty queue.
func (b *bench) fed(ctx context.Context, n int) (float64, error) {
	s, err := b.newStack(ctx, true, fmt.Sprintf("REVALIDATOR_QUEUE_DEPTH=%d", 2*n))
	if err != nil {
		return 0, err
	}
	defer s.close()
	if err := s.fillRows(ctx, n, 1); err != nil {
		return 0, err
	}
	run, err := b.start(ctx, s.env, "revalidator", "run", "--quiet", "--json")
	if err != nil {
		return 0, err
	}
	defer run.stop()
	for queued := 0; queued < n; {
		pending, err := s.redis.LLen(ctx, pendingKey).Result()
		if err != nil {
			return 0, err
		}
		queued = int(pending)
		time.Sleep(time.Millisecond)
	}
	var started time.Time
	if err := s.db.GetContext(ctx, &started, `SELECT started_at FROM runs`); err != nil {
		return 0, err
	}
	return float64(n) / time.Since(started).Seconds(), nil
}

// pendingKey is where asynq keeps the ids of the tasks that wait.
const pendingKey = "asynq:{" + jobs.QueueSmall + "}:pending"

// drained is what a run over many receipts took.
type drained struct {
	// each is the processor time of the scheduler, Postgres and Redis for a
	// receipt, without that of ending claims in place of workers.
	each             time.Duration
	scheduler, redis int64 // bytes at the most
}

// drained has a run feed n receipts to somebody who takes them off at once, in
// place of workers.
func (b *bench) drained(ctx context.Context, n int) (d drained, err error) {
	s, err := b.newStack(ctx, true)
	if err != nil {
		return d, err
	}
	defer s.close()
	if err := s.fillRows(ctx, n, 1); err != nil {
		return d, err
	}
	// Only a long run lives to see it; what Postgres does later counts for none.
	if err := s.execAll(ctx, nil, `ALTER TABLE receipts SET (autovacuum_enabled = false)`); err != nil {
		return d, err
	}
	workers, err := s.db.Connx(ctx)
	if err != nil {
		return d, err
	}
	defer workers.Close()
	idle, err := s.backend(ctx, workers)
	if err != nil {
		return d, err
	}
	before, err := s.servers(ctx)
	if err != nil {
		return d, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- s.drain(ctx, workers) }()
	run, err := b.start(ctx, s.env, "revalidator", "run", "--quiet", "--json")
	if err != nil {
		return d, err
	}
	defer run.stop()
	out, used, err := run.watch(failed)
	if err != nil {
		return d, err
	}
	after, err := s.servers(ctx)
	if err != nil {
		return d, err
	}
	busy, err := s.backend(ctx, workers)
	if err != nil {
		return d, err
	}
	ends := busy.own - idle.own
	var totals struct {
		Enqueued int     `json:"enqueued"`
		Elapsed  float64 `json:"elapsed_seconds"`
	}
	if err := json.Unmarshal(out, &totals); err != nil || totals.Enqueued != n {
		return d, errors.Join(err, fmt.Errorf("the run enqueued %d of %d receipts", totals.Enqueued, n))
	}
	say("  %d due: %s; scheduler %s, %s; of these %s to end claims", n, perSecond(float64(n)/totals.Elapsed),
		each(used.cpu, n), before.each(after, n), each(ends, n))
	d.each = (used.cpu + after.postgres - before.postgres + after.redis - before.redis - ends) / time.Duration(n)
	d.scheduler = used.peak
	d.redis, err = s.redisPeak(ctx)
	return d, err
}

// watch is what a process prints until it ends, and what it has used by then. It is
// given up on when whoever takes receipts off the queue fails.
func (p *process) watch(failed <-chan error) (out []byte, used usage, err error) {
	ended := make(chan struct{})
	go func() { out, _ = io.ReadAll(p.out); close(ended) }()
	for {
		if u, err := p.used(); err == nil && u.peak > 0 {
			used = u
		}
		select {
		case <-ended:
			return out, used, nil
		case err := <-failed:
			return nil, used, errors.Join(errors.New("nobody takes receipts off the queue"), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// drain takes tasks off the queue and ends their claims, until ctx ends.
func (s *stack) drain(ctx context.Context, db *sqlx.Conn) error {
	const end = `
		UPDATE receipts SET claimed_until = NULL, run_id = NULL, next_check_at = now() + interval '30 days', next_check_rule = 'renewal'
		WHERE id = ANY($1)`
	for ctx.Err() == nil {
		tasks, err := s.redis.RPopCount(ctx, pendingKey, 1000).Result()
		if err != nil || len(tasks) == 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		keys, ids := make([]string, len(tasks)), make([]int64, len(tasks))
		for i, task := range tasks {
			keys[i] = "asynq:{" + jobs.QueueSmall + "}:t:" + task
			parts := strings.Split(task, ":") // the last two are the receipt and the generation
			if ids[i], err = strconv.ParseInt(parts[max(0, len(parts)-2)], 10, 64); err != nil {
				return err
			}
		}
		if err := s.redis.Unlink(ctx, keys...).Err(); err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, end, pq.Array(ids)); err != nil {
			return err
		}
	}
	return nil
}

// redisPeak is the most memory that Redis has taken.
func (s *stack) redisPeak(ctx context.Context) (int64, error) {
	info, err := s.redis.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory_peak:"); ok {
			return strconv.ParseInt(text, 10, 64)
		}
	}
	return 0, errors.New("no memory in what Redis tells of itself")
}

// fillRows stores rows of receipts without their bytes, one of so many due, in
// no order of theirs. The indexes are made at the end, which is faster.
func (s *stack) fillRows(ctx context.Context, n, oneIn int) error {
	const rows = `
		INSERT INTO receipts (bundle_id, customer_ref, kind, environment, sha256, byte_size, next_check_at, next_check_rule, created_at)
		SELECT $1, 'customer-' || i, 'app_receipt', 'Production', sha256(i::text::bytea), 8192,
		       CASE WHEN i % $3::int = 0 THEN now() - interval '1 day' * (hashint4(i) & 65535) / 65536 - interval '1 minute'
		            ELSE now() + interval '30 days' * (hashint4(i) & 65535) / 65536 + interval '1 hour' END, 'renewal', now()
		FROM generate_series(1, $2::int) i`
	var indexes []struct {
		Name       string `db:"indexname"`
		Definition string `db:"indexdef"`
	}
	const defined = `
		SELECT indexname, indexdef FROM pg_indexes
		WHERE schemaname = current_schema AND tablename = 'receipts' AND indexname <> 'receipts_pkey'`
	if err := s.db.SelectContext(ctx, &indexes, defined); err != nil {
		return err
	}
	// The check of each row's app would take longer than the rows.
	statements := []string{`TRUNCATE receipts RESTART IDENTITY CASCADE`, `ALTER TABLE receipts DISABLE TRIGGER ALL`}
	for _, index := range indexes {
		statements = append(statements, `DROP INDEX `+pq.QuoteIdentifier(index.Name))
	}
	if err := s.execAll(ctx, nil, statements...); err != nil {
		return err
	}
	statements = []string{rows}
	for _, index := range indexes {
		statements = append(statements, index.Definition)
	}
	return s.execAll(ctx, []any{appID, n, oneIn}, append(statements, `ALTER TABLE receipts ENABLE TRIGGER ALL`, `VACUUM ANALYZE`)...)
}
