package config

import (
	"errors"
	"fmt"
	"time"
)

// ErrNotSet says that a setting without a default is needed and missing.
var ErrNotSet = errors.New("not set")

// RequireDatabase returns ErrNotSet where no database is named.
func (c Config) RequireDatabase() error {
	if c.Database.URL.IsZero() {
		return fmt.Errorf("DATABASE_URL is %w: give postgres://user:password@host/database there, or its file in DATABASE_URL_FILE", ErrNotSet)
	}
	return nil
}

// RequireKeys returns ErrNotSet where no encryption keys are given.
func (c Config) RequireKeys() error {
	if c.Keys.Keyset.IsZero() {
		return fmt.Errorf("REVALIDATOR_KEYS is %w: run `revalidator keys generate > keys.json` and set REVALIDATOR_KEYS_FILE=keys.json", ErrNotSet)
	}
	return nil
}

// problems lists every mistake in the settings and between them.
func (c Config) problems() []error {
	var found []error
	for _, err := range []error{
		databaseURL(c.Database.URL.Reveal()),
		c.Redis.validate(),
		named("REVALIDATOR_LOG_FORMAT", c.Log.Format.Validate()),
		named("REVALIDATOR_APPLE_PRODUCTION_URL", appleURL(c.Apple.ProductionURL)),
		named("REVALIDATOR_APPLE_SANDBOX_URL", appleURL(c.Apple.SandboxURL)),
		named("REVALIDATOR_MAX_REPLY_TEXT_BYTES", textBytes(c.Apple.MaxReplyTextBytes)),
		named("REVALIDATOR_CLOCK_URL", c.Apple.simulatedClock()),
		named("REVALIDATOR_SCHEDULE", schedule(c.Schedule.Cron)),
		named("REVALIDATOR_UI_ADDR", address(c.Web.Addr)),
		c.Web.login(),
		named("REVALIDATOR_PRIVATE_HOSTS", hosts(c.Network.PrivateHosts)),
		named("REVALIDATOR_UI_HOSTS", hosts(c.Web.Hosts)),
		named("REVALIDATOR_UI_PATH", path(c.Web.Path)),
		named("REVALIDATOR_METRICS_ADDR", address(c.Web.MetricsAddr)),
	} {
		if err != nil {
			found = append(found, err)
		}
	}
	found = append(found, c.sizes()...)
	return append(found, c.relations()...)
}

// sizes reports what must be at least 1, and what must not be negative.
func (c Config) sizes() []error {
	var found []error
	for _, size := range []struct {
		name         string
		value, least int64
	}{
		{"REVALIDATOR_START_WAIT", int64(c.Start.Wait), 0},
		{"REVALIDATOR_SECRET_AGE", int64(c.Keys.SecretAge), 0},
		{"REVALIDATOR_APPLE_TIMEOUT", int64(c.Apple.Timeout), int64(time.Second)},
		{"REVALIDATOR_CLOCK_TOLERANCE", int64(c.Apple.ClockTolerance), int64(time.Second)},
		{"REVALIDATOR_MAX_REQUEST_BYTES", c.Apple.MaxRequestBytes, 1},
		{"REVALIDATOR_REQUEST_LIMIT_MARGIN", c.Apple.LimitMargin, 1},
		{"REVALIDATOR_MAX_REPLY_BYTES", c.Apple.MaxReplyBytes, 1},
		{"REVALIDATOR_MAX_REPLY_DEPTH", int64(c.Apple.MaxReplyDepth), 8},
		{"REVALIDATOR_MAX_REPLY_RECORDS", int64(c.Apple.MaxReplyRecords), 1},
		{"REVALIDATOR_MEMORY_BYTES", c.Worker.MemoryBytes, 4 << 20},
		{"REVALIDATOR_RUN_WINDOW", int64(c.Schedule.RunWindow), int64(time.Second)},
		{"REVALIDATOR_CATCH_UP", int64(c.Schedule.CatchUp), 0},
		{"REVALIDATOR_QUEUE_AHEAD", int64(c.Queue.Ahead), int64(time.Second)},
		{"REVALIDATOR_OWNER_LEASE", int64(c.Queue.OwnerLease), int64(time.Second)},
		{"REVALIDATOR_KEEP_RUNS", int64(c.Keep.Runs), 0},
		{"REVALIDATOR_KEEP_RUN_FAILURES", int64(c.Keep.RunFailures), 0},
		{"REVALIDATOR_KEEP_RUN_ITEMS", int64(c.Keep.RunItems), 0},
		{"REVALIDATOR_KEEP_EVENTS", int64(c.Keep.Events), 0},
		{"REVALIDATOR_CONCURRENCY", int64(c.Worker.Concurrency), 1},
		{"REVALIDATOR_LARGE_CONCURRENCY", int64(c.Worker.LargeConcurrency), 1},
		{"REVALIDATOR_LARGE_RECEIPT_BYTES", c.Worker.LargeReceiptBytes, 1},
		{"REVALIDATOR_RETRY_BASE", int64(c.Worker.RetryBase), int64(time.Second)},
		{"REVALIDATOR_RETRY_LIMIT", int64(c.Worker.RetryLimit), 1},
		{"REVALIDATOR_LIMITER_WAIT", int64(c.Worker.LimiterWait), 0},
		{"REVALIDATOR_BATCH_SIZE", int64(c.Worker.BatchSize), 1},
		{"REVALIDATOR_BATCH_DELAY", int64(c.Worker.BatchDelay), 0},
		{"REVALIDATOR_QUARANTINE_STOP_RECEIPTS", c.Quarantine.StopReceipts, 1},
		{"REVALIDATOR_QUARANTINE_STOP_PERCENT", c.Quarantine.StopPercent, 1},
		{"REVALIDATOR_RETENTION", int64(c.Web.Retention), 0},
	} {
		if size.value >= size.least {
			continue
		}
		if size.least == int64(time.Second) {
			found = append(found, fmt.Errorf("%s: want at least 1s", size.name))
		} else {
			found = append(found, fmt.Errorf("%s: want at least %d", size.name, size.least))
		}
	}
	return found
}

// leastKept is the shortest time that runs and events may be kept for.
const leastKept = 24 * time.Hour

// relations reports pairs of settings that do not work together.
func (c Config) relations() []error {
	// The longest that a receipt is on its way from the claim to its result.
	longest := c.Queue.Ahead + c.Worker.LimiterWait + c.Apple.Timeout + c.Worker.BatchDelay
	var found []error
	for _, relation := range []struct {
		ok   bool
		text string
	}{
		{c.Worker.ShutdownTimeout > c.Apple.Timeout,
			"REVALIDATOR_SHUTDOWN_TIMEOUT must be longer than REVALIDATOR_APPLE_TIMEOUT: a worker that stops earlier calls Apple in vain"},
		{c.Apple.ClockTolerance >= c.Apple.Timeout,
			"REVALIDATOR_CLOCK_TOLERANCE must not be shorter than REVALIDATOR_APPLE_TIMEOUT: the time of a reply is when Apple began it"},
		{c.Queue.ClaimLease > longest,
			"REVALIDATOR_CLAIM_LEASE must be longer than REVALIDATOR_QUEUE_AHEAD, LIMITER_WAIT, APPLE_TIMEOUT and BATCH_DELAY together: else receipts are due again while they are worked on"},
		{c.Worker.LimiterWait >= c.Queue.Ahead,
			"REVALIDATOR_LIMITER_WAIT must not be shorter than REVALIDATOR_QUEUE_AHEAD: else workers release receipts that would have been checked"},
		{c.Worker.RetryMax >= c.Worker.RetryBase,
			"REVALIDATOR_RETRY_MAX must not be shorter than REVALIDATOR_RETRY_BASE"},
		{c.Queue.Depth >= c.Worker.Concurrency+c.Worker.LargeConcurrency,
			"REVALIDATOR_QUEUE_DEPTH must not be less than REVALIDATOR_CONCURRENCY and REVALIDATOR_LARGE_CONCURRENCY together: else workers are idle"},
		{c.Worker.LargeReceiptBytes <= c.Apple.MaxRequestBytes,
			"REVALIDATOR_LARGE_RECEIPT_BYTES must not be more than REVALIDATOR_MAX_REQUEST_BYTES"},
		{c.Keep.Runs == 0 || c.Keep.Runs >= leastKept, "REVALIDATOR_KEEP_RUNS must be 0 or at least 24h: workers may still be at a run that has ended"},
		{c.Keep.Events == 0 || c.Keep.Events >= leastKept, "REVALIDATOR_KEEP_EVENTS must be 0 or at least 24h: readers need time to come back"},
		{c.Quarantine.StopPercent <= 100, "REVALIDATOR_QUARANTINE_STOP_PERCENT must not be more than 100"},
	} {
		if !relation.ok {
			found = append(found, errors.New(relation.text))
		}
	}
	return found
}

func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}
