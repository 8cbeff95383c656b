// Package config reads the settings of the program from its environment, once,
// and reports every mistake together. It opens nothing but the files that hold
// secrets: connecting to what the settings name is left to the commands.
package config

import (
	"log/slog"
	"time"

	"revalidator/internal/secret"
)

// Config is all settings. Each field's tags name its variable, its default and
// its meaning, from which Settings and the table in docs/settings.md are made; its
// comment says what a larger or smaller value costs. A variable that is set
// but empty counts as not set.
type Config struct {
	Database   Database
	Redis      Redis
	Network    Network
	Start      Start
	Keys       Keys
	Log        Log
	Apple      Apple
	Schedule   Schedule
	Queue      Queue
	Keep       Keep
	Worker     Worker
	Quarantine Quarantine
	Web        Web
	Files      Files
}

// Files are where secrets came from. It is no setting.
type Files struct {
	// Secrets are the files by the setting whose value they hold.
	Secrets map[string]string
}

// Database is where the truth is kept.
type Database struct {
	// URL has no default, because to work on the wrong database is worse than
	// not to work. See Config.RequireDatabase.
	URL secret.Value `env:"DATABASE_URL" help:"Postgres 14 or newer: postgres://user:password@host/database, with ?sslmode=disable where the server does not speak TLS, or sslrootcert=FILE where its certificate has an authority of its own. Required by all commands that touch data; deploy/postgres-role.sql makes a role with the least rights."`
}

// Redis is where the queue and the rate limiter are kept.
type Redis struct {
	// URL should lead to a Redis of its own, or at least a database number of
	// its own: asynq's keys must not be evicted or edited by others. See
	// Topology for the three forms.
	URL secret.Value `env:"REDIS_URL" envDefault:"redis://127.0.0.1:6379/0" help:"Redis 6.2 or newer: redis:// or rediss:// (TLS). With ?master_name= it is a Sentinel, whose own user and password stand before the host, and those of the servers behind it in ?username=&password=; with ?addr= one more node of a Cluster. skip_verify=true trusts any certificate. Keys begin with asynq: and revalidator:, and an ACL must allow both, the channels asynq:* and EVAL."`
}

// Network is what is known of the connections to Postgres and Redis.
type Network struct {
	// PrivateHosts keep warnings for what a person can act on. A host that is named
	// here without need hides that passwords and tasks can be read on the way to it.
	PrivateHosts []string `env:"REVALIDATOR_PRIVATE_HOSTS" help:"Hosts of DATABASE_URL and REDIS_URL, separated by commas, to which no one else can listen, such as those of the network of docker-compose.yml: doctor and the services do not warn that connections to them are not encrypted."`
}

// Start is how a service starts.
type Start struct {
	// Wait lets services be started in any order. Larger values leave a wrong
	// address unnoticed by a supervisor for longer; the log tells it at once.
	Wait time.Duration `env:"REVALIDATOR_START_WAIT" envDefault:"5m" help:"How long a scheduler, worker or ui that is started waits for Postgres with its tables and for Redis; 0 is not at all."`
}

// Keys is how the shared secrets in the database are kept.
type Keys struct {
	// Keyset is the output of 'revalidator keys generate'. It should come from
	// another place than the database, so that the theft of one is not enough.
	// See Config.RequireKeys.
	Keyset secret.Value `env:"REVALIDATOR_KEYS" help:"Keys that encrypt shared secrets at rest: the output of 'revalidator keys generate'. Required by all commands that use shared secrets."`
	// SecretAge is when status and doctor begin to warn. A secret stays good
	// for as long as App Store Connect has it; only changing it now and then
	// ends the use of one that leaked unnoticed.
	SecretAge time.Duration `env:"REVALIDATOR_SECRET_AGE" envDefault:"2160h" help:"Age from which a shared secret should be changed for a new one: status and doctor warn; 0 is never."`
}

// Log is how the program tells what it does, on standard error.
type Log struct {
	// Level debug says one line for each receipt; info one for each run.
	Level slog.Level `env:"REVALIDATOR_LOG_LEVEL" envDefault:"info" help:"Least level that is logged: debug, info, warn or error."`
	// Format text is for people, json for collectors.
	Format LogFormat `env:"REVALIDATOR_LOG_FORMAT" envDefault:"text" help:"Form of the log: text or json."`
}

// Apple is how Apple is asked.
type Apple struct {
	// ProductionURL differs from Apple's own only where a simulator answers.
	ProductionURL string `env:"REVALIDATOR_APPLE_PRODUCTION_URL" envDefault:"https://buy.itunes.apple.com/verifyReceipt" help:"Address of verifyReceipt for production."`
	// SandboxURL is asked for receipts that production answers with 21007.
	SandboxURL string `env:"REVALIDATOR_APPLE_SANDBOX_URL" envDefault:"https://sandbox.itunes.apple.com/verifyReceipt" help:"Address of verifyReceipt for the sandbox."`
	// Timeout bounds one request with its reply. Long histories take Apple tens
	// of seconds: a smaller value never gets an answer for them, a larger one
	// lets an outage hold the workers longer.
	Timeout time.Duration `env:"REVALIDATOR_APPLE_TIMEOUT" envDefault:"60s" help:"Longest time for one request to Apple and its reply."`
	// ClockTolerance keeps replies out that a proxy has kept, or whose maker's
	// clock is wrong: what is newer by its own time is believed. It must leave
	// room for the slowest reply. Too small a value refuses good ones.
	ClockTolerance time.Duration `env:"REVALIDATOR_CLOCK_TOLERANCE" envDefault:"10m" help:"By how much Apple's time in a reply may differ from the database's clock, ahead or behind; of a reply that differs by more nothing is stored."`
	// ClockURL lets a simulated App Store be at another time than the rest of the
	// world. Leases, rates and deadlines follow the database's clock all the same.
	ClockURL string `env:"REVALIDATOR_CLOCK_URL" help:"For development only: the clock of a simulated App Store, such as http://127.0.0.1:8081/control/clock, by which receipts are due and results are dated. Refused unless all addresses of Apple's are loopback addresses."`
	// Roots lets a simulated App Store sign. Whoever may set it decides what passes
	// for Apple's, so that it works only where nobody else is asked either.
	Roots string `env:"REVALIDATOR_APPLE_ROOTS" help:"For development only: a PEM file with the root certificates of a simulated App Store, which take the place of Apple's for every signature. Refused unless all addresses of Apple's are loopback addresses."`
	// OCSP true notices a stolen or revoked certificate, and makes verification
	// depend on Apple's responders: without an answer a signature is undetermined.
	OCSP bool `env:"REVALIDATOR_OCSP" envDefault:"false" help:"Whether Apple's OCSP responders are queried for the revocation of a certificate that signed a receipt or payload: true or false. Replies are kept for an hour."`
	// RefuseUnverified true keeps forgeries out, and with them what is genuine and
	// cannot be verified here, such as receipts in the style of iOS 6.
	RefuseUnverified bool `env:"REVALIDATOR_REFUSE_UNVERIFIED" envDefault:"false" help:"Refuse receipts on import whose signature is not verified, instead of marking them: true or false. What may be verified later is marked all the same."`
	// MaxRequestBytes is what is still sent. Apple answers larger requests with
	// 413 or 21002, so a larger value only costs their transfer.
	MaxRequestBytes int64 `env:"REVALIDATOR_MAX_REQUEST_BYTES" envDefault:"3145728" help:"Largest request to Apple in bytes, with the receipt in base64."`
	// LimitMargin keeps HTTP 413 from being believed that a proxy with a limit of
	// its own answers. Too large a value believes such a proxy; too small a one
	// asks again for ever where Apple lowers its limit a little.
	LimitMargin int64 `env:"REVALIDATOR_REQUEST_LIMIT_MARGIN" envDefault:"65536" help:"How near to the largest request (the setting above, Apple's 3145728 at most) one must be, in bytes, an eighth of it at most, for HTTP 413 to count against its receipt; below that, it is a proxy that refuses it."`
	// MaxReplyBytes is where reading stops. Replies are decoded as they arrive,
	// so that a larger value costs time rather than memory.
	MaxReplyBytes int64 `env:"REVALIDATOR_MAX_REPLY_BYTES" envDefault:"67108864" help:"Largest reply of Apple in bytes; a longer one counts as unreadable."`
	// MaxReplyDepth and MaxReplyRecords bound what a reply may cost to read; the
	// memory that it takes meanwhile is part of MemoryBytes.
	MaxReplyDepth int `env:"REVALIDATOR_MAX_REPLY_DEPTH" envDefault:"32" help:"How deep objects and lists in a reply may be nested; Apple's own are 4 deep."`
	// MaxReplyRecords counts a purchase once for each list that it is in.
	MaxReplyRecords int `env:"REVALIDATOR_MAX_REPLY_RECORDS" envDefault:"50000" help:"Most purchases and renewals in a reply; one with more counts as unreadable."`
	// MaxReplyTextBytes is far above Apple's: ids have 20 digits. What is longer
	// does not come from Apple, and would not fit into an index from some 1,000.
	MaxReplyTextBytes int `env:"REVALIDATOR_MAX_REPLY_TEXT_BYTES" envDefault:"256" help:"Longest id or other text of a reply that is stored, in bytes, from 64 to 1024; a reply with a longer one counts as unreadable."`
	// ExcludeOldTransactions false asks for the whole history each time. It
	// shows refunds of old periods, and replies grow by megabytes.
	ExcludeOldTransactions bool `env:"REVALIDATOR_EXCLUDE_OLD_TRANSACTIONS" envDefault:"true" help:"Have replies show the latest transaction of each subscription only: true or false."`
}

// Schedule is when the nightly run takes place.
type Schedule struct {
	// Cron is standard five-field cron. Each of its slots is run once, however
	// many schedulers there are.
	Cron string `env:"REVALIDATOR_SCHEDULE" envDefault:"0 2 * * *" help:"When the nightly run starts, as a cron expression: minute, hour, day of month, month, day of week."`
	// TimeZone other than UTC moves the run with daylight saving time. Keep the
	// schedule out of the hour that the change skips or repeats.
	TimeZone TimeZone `env:"REVALIDATOR_TIME_ZONE" envDefault:"UTC" help:"Time zone of the schedule, such as Europe/Berlin."`
	// RunWindow ends a run; what is left stays due for the next. A longer one
	// finishes more, and reaches further into the day.
	RunWindow time.Duration `env:"REVALIDATOR_RUN_WINDOW" envDefault:"8h" help:"Longest time that a run takes; what is left stays due for the next."`
	// CatchUp 0 leaves every slot out that was missed, such as in an outage.
	CatchUp time.Duration `env:"REVALIDATOR_CATCH_UP" envDefault:"12h" help:"How late a missed run is still started; 0 is never."`
}

// Queue is how work gets from Postgres to the workers.
type Queue struct {
	// Depth bounds the memory of Redis and what has to be claimed again when
	// Redis is lost. Too small a value leaves workers idle.
	Depth int `env:"REVALIDATOR_QUEUE_DEPTH" envDefault:"5000" help:"Largest number of receipts that are claimed at a time, over all runs."`
	// Ahead bounds how long a paused app or a new priority takes to show. It
	// must not exceed LimiterWait, or workers release what they cannot wait
	// for.
	Ahead time.Duration `env:"REVALIDATOR_QUEUE_AHEAD" envDefault:"30s" help:"How much work is kept queued for each app, as the time that its rate needs for it."`
	// ClaimLease is how long the receipts of a killed worker wait. Too small a
	// value asks Apple twice.
	ClaimLease time.Duration `env:"REVALIDATOR_CLAIM_LEASE" envDefault:"15m" help:"After which time a claimed receipt without a result is due again."`
	// OwnerLease is how long a run stands still when its scheduler is killed.
	// Too small a value makes schedulers take runs from each other.
	OwnerLease time.Duration `env:"REVALIDATOR_OWNER_LEASE" envDefault:"30s" help:"After which time another scheduler takes over the run of one that is gone."`
}

// Keep is how long rows are kept of what only grows. Schedulers delete what is older,
// in small batches. Age counts from the database's clock, or from Apple's time where
// that is less, and nothing is deleted while the two differ.
type Keep struct {
	// Runs are some rows for each app and run. 'report' compares a run with the one
	// before it, and the forecast needs none.
	Runs time.Duration `env:"REVALIDATOR_KEEP_RUNS" envDefault:"2160h" help:"How long runs that have ended are kept with their figures, at least 24h; 0 is for ever. A backfill that was interrupted for longer is cancelled."`
	// RunFailures are a row for each app and class of failure of a run.
	RunFailures time.Duration `env:"REVALIDATOR_KEEP_RUN_FAILURES" envDefault:"720h" help:"How long the failures of runs are kept by class; 0 is as long as their runs."`
	// RunItems are a row for each receipt that a backfill did not come to: of millions
	// where it was cancelled early.
	RunItems time.Duration `env:"REVALIDATOR_KEEP_RUN_ITEMS" envDefault:"24h" help:"How long it is kept which receipts a cancelled backfill did not come to; 0 is for ever, and keeps its run as well."`
	// Events are the history of every subscription, and what readers come back to who
	// were away.
	Events time.Duration `env:"REVALIDATOR_KEEP_EVENTS" envDefault:"0" help:"How long subscription events are kept, at least 24h; 0 is for ever. Readers that are further behind miss what was deleted."`
}

// Worker is how one worker process works.
type Worker struct {
	// Concurrency bounds neither the memory nor the rate, which have budgets of
	// their own: how many are with Apple at a time follows from rate and latency.
	// Most of these receipts wait for their slot, so it should be well above
	// Apple's latency times the rate.
	Concurrency int `env:"REVALIDATOR_CONCURRENCY" envDefault:"512" help:"Receipts that one worker process checks at a time; most of them wait for the rate limit."`
	// LargeConcurrency is how many large receipts may keep Apple, and the line,
	// busy next to the small ones.
	LargeConcurrency int `env:"REVALIDATOR_LARGE_CONCURRENCY" envDefault:"4" help:"Large receipts that one worker process checks at a time, in addition to the others."`
	// MemoryBytes bounds the memory of a worker, together with some 20 MiB that
	// it takes without any receipt. Too small a value leaves it idle: of three
	// quarters a small receipt takes 80 KiB and one of 2.2 MB 256 KiB; of the last
	// one a reply takes what it says, 1 KiB for each subscription and 0.4 KiB for
	// each one-time purchase or so. What finds no room is checked again later.
	MemoryBytes int64 `env:"REVALIDATOR_MEMORY_BYTES" envDefault:"48234496" help:"Memory that all receipts share that one worker process checks, a quarter of it for what replies say; a reply that needs more than that counts as unreadable."`
	// LargeReceiptBytes is the border between the two queues. Receipts keep the
	// queue that they were given when they were queued.
	LargeReceiptBytes int64 `env:"REVALIDATOR_LARGE_RECEIPT_BYTES" envDefault:"262144" help:"From which size in bytes a receipt is large."`
	// RetryBase doubles with each failure in a row, up to RetryMax. Small
	// values press on an Apple that is failing; large ones delay news.
	RetryBase time.Duration `env:"REVALIDATOR_RETRY_BASE" envDefault:"30s" help:"Wait after the first failure of a receipt; doubled after each further one."`
	// RetryMax is the most that RetryBase grows to.
	RetryMax time.Duration `env:"REVALIDATOR_RETRY_MAX" envDefault:"6h" help:"Longest wait after a failure of a receipt."`
	// RetryLimit lets a run end though some receipts always fail. They are due
	// again in the next.
	RetryLimit int `env:"REVALIDATOR_RETRY_LIMIT" envDefault:"5" help:"Failures in a row after which a receipt leaves the run."`
	// LimiterWait is how long a worker sleeps for its slot. Longer waits give
	// the receipt back, which costs a write to Postgres.
	LimiterWait time.Duration `env:"REVALIDATOR_LIMITER_WAIT" envDefault:"1m" help:"Longest wait for the rate limit in a worker; for a longer one the claim is released. The same in all workers."`
	// ShutdownTimeout is how long a stopped worker may finish its requests. The
	// last results are stored after it, which takes seconds.
	ShutdownTimeout time.Duration `env:"REVALIDATOR_SHUTDOWN_TIMEOUT" envDefault:"70s" help:"How long a worker that is asked to stop may take; longer than the time for one request to Apple. What stops it should wait 10s more before it kills it."`
	// BatchSize is how many results share a transaction.
	BatchSize int `env:"REVALIDATOR_BATCH_SIZE" envDefault:"250" help:"Most results that are stored in one transaction."`
	// BatchDelay holds each result back, so that others can join it; 0 stores
	// what is there.
	BatchDelay time.Duration `env:"REVALIDATOR_BATCH_DELAY" envDefault:"10ms" help:"How long a result waits for others to be stored with."`
}

// Quarantine is from when on the quarantining of an app stops, because too many of its
// good receipts are accused at once. Both must be met. See docs/quarantine.md.
type Quarantine struct {
	// StopReceipts keeps a few bad receipts of a small app from stopping it. Larger
	// values let as many good receipts be quarantined before anybody knows.
	StopReceipts int64 `env:"REVALIDATOR_QUARANTINE_STOP_RECEIPTS" envDefault:"20" help:"How many of an app's receipts that Apple accepted before must get the same accusing failure within a day for its quarantining to stop."`
	// StopPercent keeps the usual share of bad receipts of a large app from stopping
	// it. Smaller values ask for a person more often.
	StopPercent int64 `env:"REVALIDATOR_QUARANTINE_STOP_PERCENT" envDefault:"5" help:"Percentage of the receipts of the app that were checked within a day that these must be in addition."`
}

// Web is what can be looked at.
type Web struct {
	// Addr beyond this machine is refused without User and Password. It speaks
	// HTTP: where others can listen on the way, put a proxy with TLS before it.
	Addr string `env:"REVALIDATOR_UI_ADDR" envDefault:"127.0.0.1:8080" help:"Address of the web pages, as host:port; beyond this machine only with a user and a password."`
	// User and Password go together. Without them whoever reaches Addr may look.
	User string `env:"REVALIDATOR_UI_USER" help:"User name that the web pages require (HTTP basic)."`
	// Password is compared in constant time; how hard it is to guess is all that
	// protects the pages.
	Password secret.Value `env:"REVALIDATOR_UI_PASSWORD" help:"Password of REVALIDATOR_UI_USER."`
	// ReadWrite offers asynq's buttons: pause a queue, delete tasks. What is
	// deleted is due again when its claim runs out; to delete all of a long
	// queue stops Redis for seconds.
	ReadWrite bool `env:"REVALIDATOR_UI_READ_WRITE" envDefault:"false" help:"Let the web pages pause queues and delete tasks: true or false."`
	// Hosts are names for Addr on this machine next to localhost. Others are
	// refused, so that no web site can have a browser here read the pages under
	// a name of its own.
	Hosts []string `env:"REVALIDATOR_UI_HOSTS" help:"Further host names under which a proxy on this machine serves the web pages, separated by commas."`
	// Proxies are believed about who asks: a network of theirs that others can send
	// from lets those have as many tries as they make up addresses.
	Proxies []Prefix `env:"REVALIDATOR_UI_PROXIES" help:"Addresses or networks of proxies before the web pages, separated by commas, such as 127.0.0.1,10.0.0.0/8: the delay after failed log-ins is then for each address that they name last in X-Forwarded-For, and not for the proxy as one."`
	// Path is for a proxy that serves more than this program.
	Path string `env:"REVALIDATOR_UI_PATH" envDefault:"/" help:"Path under which asynq's web pages are served."`
	// Retention costs Redis 0.8 KB for each task that ended well within it: at
	// 100 calls per second the default holds 30,000 of them, in 24 MB. Workers write
	// a sentence on each; 0 saves both. Failed ones are asynq's archive, which has
	// 10,000 for each of the two queues at most, 18 MB together.
	// Measured by 'go test -v -run TestRetentionCost ./jobs'.
	Retention time.Duration `env:"REVALIDATOR_RETENTION" envDefault:"5m" help:"How long tasks of checks that succeeded are kept in Redis with their results, in whole seconds. Of those that failed the last 10,000 of each queue are kept, for 90 days at most, as archived. 0 keeps neither."`
	// MetricsAddr empty opens no port. It may be reached from other machines:
	// there are numbers and health, no data.
	MetricsAddr string `env:"REVALIDATOR_METRICS_ADDR" help:"Address of /metrics, /healthz and /readyz in schedulers and workers, as host:port; empty is off."`
}
