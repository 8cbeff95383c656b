package report

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/database"
	"revalidator/internal/keyring"
	"revalidator/internal/phrase"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// leastPostgres is the oldest version that the schema works with, as Postgres
// numbers it: 14.0.
const leastPostgres = 140000

func (d *Doctor) postgresChecks() []doctorCheck {
	return []doctorCheck{
		{"postgres", d.postgres, true},
		{"postgres_version", d.postgresVersion, false},
		{"postgres_encoding", d.postgresEncoding, false},
		{"postgres_clock", d.postgresClock, false},
		{"postgres_writes", d.postgresWrites, false},
		{"schema", d.schemaVersion, true},
		{"apps", d.enabledApps, false},
		{"keys", d.storedSecrets, false},
		{"secrets", d.missingSecrets, false},
		{"secret_age", d.oldSecrets, false},
		{"overdue", d.overdue, false},
		{"next_checks", d.nextChecks, false},
		{"runs", d.orphanedRuns, false},
		{"apple_time", d.appleTimes, false},
		{"last_run", d.lastRun, false},
		{"quarantine", d.stoppedQuarantine, false},
		{"no_source", d.withoutSource, false},
	}
}

func (d *Doctor) postgres(ctx context.Context) Finding {
	db, err := d.OpenPostgres(ctx)
	if err != nil {
		return failBy(err)
	}
	d.db = db
	return ok("reachable")
}

func (d *Doctor) postgresVersion(ctx context.Context) Finding {
	server, err := d.db.Server(ctx)
	switch {
	case err != nil:
		return failBy(err)
	case server.Version < leastPostgres:
		return fail("upgrade Postgres", "%s is older than 14", server.Name)
	}
	return ok("%s", server.Name)
}

func (d *Doctor) postgresEncoding(ctx context.Context) Finding {
	server, err := d.db.Server(ctx)
	if err == nil {
		err = server.CheckEncoding()
	}
	if err != nil {
		return failBy(err)
	}
	return ok("%s", server.Encoding)
}

func (d *Doctor) postgresWrites(ctx context.Context) Finding {
	if err := d.db.Writable(ctx); err != nil {
		return failBy(err)
	}
	return ok("its role may write")
}

func (d *Doctor) postgresClock(ctx context.Context) Finding {
	before := d.Machine()
	server, err := d.db.Server(ctx)
	if err != nil {
		return failBy(err)
	}
	after := d.Machine()
	if err := d.ReadClocks(ctx); err != nil {
		return failBy(err)
	}
	return compareClocks("Postgres", server.Now, before, after)
}

func (d *Doctor) schemaVersion(ctx context.Context) Finding {
	current, known, err := d.db.SchemaVersion(ctx)
	switch {
	case err != nil:
		return failBy(err)
	case current < known:
		return fail("run 'revalidator migrate'", "version %d, this program needs %d", current, known)
	case current > known:
		return fail("upgrade this program", "version %d, newer than this program knows (%d)", current, known)
	}
	return ok("version %d", current)
}

// enabledApps is a failure where an app stands still for want of a secret, and a
// warning where somebody has paused one.
func (d *Doctor) enabledApps(ctx context.Context) Finding {
	allApps, err := d.db.Apps(ctx)
	if err != nil {
		return failBy(err)
	}
	if len(allApps) == 0 {
		return warn("run 'revalidator apps add BUNDLE_ID'", "none")
	}
	var paused []string
	wanting := false
	for _, a := range allApps {
		if a.PausedAt != nil {
			paused = append(paused, fmt.Sprintf("%s (%s)", a.BundleID, apps.PauseReason(a.PausedCode, a.PausedText)))
			wanting = wanting || WantsSecret(a)
		}
	}
	switch {
	case wanting:
		return fail("add a shared secret that Apple accepts with 'revalidator secrets add --app BUNDLE_ID'; the app is then resumed by itself",
			"%d, of them paused: %s", len(allApps), phrase.List(paused))
	case len(paused) > 0:
		return warn("run 'revalidator apps resume BUNDLE_ID' when the cause is gone", "%d, of them paused: %s", len(allApps), phrase.List(paused))
	}
	return ok("%d enabled", len(allApps))
}

// storedSecrets tries the keys on every secret.
func (d *Doctor) storedSecrets(ctx context.Context) Finding {
	secrets, err := d.db.StoredSecrets(ctx)
	if err != nil {
		return failBy(err)
	}
	keys, err := d.OpenKeys()
	if err != nil {
		return failBy(err)
	}
	closed := unreadable(keys, secrets)
	if len(closed) > 0 {
		return fail("give the keys that they were stored with in REVALIDATOR_KEYS, or add the secrets again",
			"%d of %d stored secrets do not open: %s", len(closed), len(secrets), phrase.List(closed))
	}
	return ok("open all %d stored secrets", len(secrets))
}

// unreadable lists the ids of the secrets that a ring does not open.
func unreadable(keys *keyring.Ring, secrets []apps.SharedSecret) []string {
	var ids []string
	for _, s := range secrets {
		if _, err := keys.Open(s.Ciphertext, s.Row()); errors.Is(err, keyring.ErrUnreadable) {
			ids = append(ids, strconv.FormatInt(s.ID, 10))
		}
	}
	return ids
}

// missingSecrets looks for apps without a secret that Apple accepts.
func (d *Doctor) missingSecrets(ctx context.Context) Finding {
	const add = "run 'revalidator secrets add --app BUNDLE_ID'"
	var fixes, problems []string
	for _, about := range []struct{ warning, problem, fix string }{
		{SecretMissing, "none for ", add},
		{SecretRefused, "Apple refused every one for ", add + " with the one that App Store Connect shows"},
		{SecretUnproven, "the one that Apple accepted is retired, and no other is proven, for ", "run 'revalidator secrets verify --app BUNDLE_ID'"},
	} {
		apps, err := d.warned(ctx, about.warning)
		if err != nil {
			return failBy(err)
		}
		if len(apps) > 0 {
			problems = append(problems, about.problem+phrase.List(apps))
			fixes = append(fixes, about.fix)
		}
	}
	if len(problems) > 0 {
		return fail(strings.Join(fixes, "; "), "%s", strings.Join(problems, "; "))
	}
	return ok("one for every app")
}

func (d *Doctor) oldSecrets(ctx context.Context) Finding {
	old, err := d.warned(ctx, SecretOld)
	switch {
	case err != nil:
		return failBy(err)
	case len(old) > 0:
		return warn("make a new one in App Store Connect and run 'revalidator secrets add'; REVALIDATOR_SECRET_AGE sets the age",
			"older than %s: %s", phrase.Days(d.SecretAge), phrase.List(old))
	case d.SecretAge == 0:
		return ok("not checked: REVALIDATOR_SECRET_AGE is 0")
	}
	return ok("none older than %s", phrase.Days(d.SecretAge))
}

// warned lists the apps with a warning about their secrets.
func (d *Doctor) warned(ctx context.Context, about string) ([]string, error) {
	warnings, err := secretWarnings(ctx, d.db, d.SecretAge, d.Shared())
	var apps []string
	for _, w := range warnings {
		if w.Warning == about {
			apps = append(apps, w.BundleID)
		}
	}
	return apps, err
}

func (d *Doctor) overdue(ctx context.Context) Finding {
	schedule, err := d.Schedule()
	if err != nil {
		return failBy(err)
	}
	due, err := readDue(ctx, d.db, schedule, d.Dates())
	switch {
	case err != nil:
		return failBy(err)
	case due.OverdueSince != nil:
		return warn("see 'revalidator status'; more time (REVALIDATOR_RUN_WINDOW) or a higher rate ('revalidator apps set') gets more done",
			"receipts are due since %s, and the run of %s should have done them", phrase.Time(*due.Oldest), phrase.Time(*due.OverdueSince))
	}
	return ok("nothing")
}

// nextChecks looks for live subscriptions that would stay as they are for ever.
func (d *Doctor) nextChecks(ctx context.Context) Finding {
	found, err := d.db.UnscheduledSubscriptions(ctx, d.Machine(), phrase.Most+1)
	switch {
	case err != nil:
		return failBy(err)
	case len(found) == 0:
		return ok("every live subscription past its expiry has one")
	}
	ids := make([]string, 0, phrase.Most)
	for _, k := range found[:min(len(found), phrase.Most)] {
		ids = append(ids, k.BundleID+" "+k.OriginalTransactionID)
	}
	if len(found) > phrase.Most {
		ids = append(ids, "and more")
	}
	return fail("run 'revalidator explain ID' for one of them, 'revalidator receipts recheck' for its receipts, and report it",
		"subscriptions are past their expiry, not ended, and have no next check: %s", strings.Join(ids, ", "))
}

// appleTimes looks for endpoints whose replies agree that the clock is wrong.
func (d *Doctor) appleTimes(ctx context.Context) Finding {
	wrong, err := ReadWrongClocks(ctx, d.db)
	if err != nil {
		return failBy(err)
	}
	var texts []string
	for _, c := range wrong {
		texts = append(texts, c.String())
	}
	if len(texts) > 0 {
		return fail("set the clock of the database's machine by NTP: checks are paused except for one a minute, and resume by themselves when two of these agree with it",
			"%s", strings.Join(texts, "; "))
	}
	return ok("no sign that the clock is wrong")
}

// orphanedRuns looks for runs that no process feeds.
func (d *Doctor) orphanedRuns(ctx context.Context) Finding {
	lastRuns, err := d.db.RecentRuns(ctx, lastRuns)
	if err != nil {
		return failBy(err)
	}
	var orphans []string
	running := 0
	for _, t := range lastRuns {
		if t.State != runs.Running {
			continue
		}
		running++
		if t.OwnerUntil.Before(d.Shared()) {
			orphans = append(orphans, strconv.FormatInt(t.ID, 10))
		}
	}
	if len(orphans) > 0 {
		return warn("start 'revalidator scheduler', which takes it over", "no process feeds run %s", phrase.List(orphans))
	}
	return ok("%d running", running)
}

// Failures of a run that are worth a word: so many receipts, and such a part of
// those that were done.
const (
	failedReceipts = 20
	failedShare    = 0.05
)

// lastRun is a warning where many receipts of the last run failed.
func (d *Doctor) lastRun(ctx context.Context) Finding {
	run, err := d.db.LastFinished(ctx)
	if errors.Is(err, database.ErrNotFound) {
		return ok("no run has finished yet")
	}
	if err != nil {
		return failBy(err)
	}
	if run.Failed < failedReceipts || float64(run.Failed) < failedShare*float64(run.Done) {
		return ok("%s of %s receipts failed", phrase.Count(run.Failed), phrase.Count(run.Done))
	}
	failures, err := d.db.RunFailures(ctx, run.ID)
	if err != nil {
		return failBy(err)
	}
	classes := make([]string, len(failures))
	for i, f := range failures {
		classes[i] = fmt.Sprintf("%s (%s)", phrase.Words(f.Class), phrase.Count(f.Responses))
	}
	return warn("see 'revalidator explain' of one of them ('revalidator receipts list') for what each failure means",
		"%s of %s receipts of run %d failed, with %s", phrase.Count(run.Failed), phrase.Count(run.Done), run.ID, phrase.List(classes))
}

// withoutSource is a failure where there are receipts that no source can
// check: what they show grows old.
func (d *Doctor) withoutSource(ctx context.Context) Finding {
	counts, err := d.db.WithoutSource(ctx)
	if err != nil {
		return failBy(err)
	}
	if len(counts) == 0 {
		return ok("every receipt has a source that checks it")
	}
	var texts []string
	for _, app := range slices.Sorted(maps.Keys(counts)) {
		texts = append(texts, fmt.Sprintf("%s of %s", phrase.Count(counts[app]), app))
	}
	return fail("import the app receipts of these customers as well; what a signed transaction says is of its signing date, and renewals and refunds after it go unnoticed",
		"no source can check signed transactions: %s", strings.Join(texts, ", "))
}

// stoppedQuarantine is a failure where the quarantining of an app is stopped: a
// person has to find out whether its receipts are bad.
func (d *Doctor) stoppedQuarantine(ctx context.Context) Finding {
	stops, err := d.db.QuarantineStops(ctx, d.Machine())
	if err != nil {
		return failBy(err)
	}
	if len(stops) == 0 {
		return ok("not stopped for any app")
	}
	texts := make([]string, len(stops))
	wave := false
	for i, s := range stops {
		texts[i] = StopText(s)
		wave = wave || s.Quarantined > 0
	}
	fix := "find out with 'revalidator check' whether these receipts are bad; if not, nothing is lost, and quarantining resumes by itself once that is over for a day; " +
		"if so, 'revalidator apps resume BUNDLE_ID --quarantine'"
	if wave {
		fix += "; have those that were quarantined before checked again with 'revalidator receipts release --app BUNDLE_ID --since TIME'"
	}
	return fail(fix, "stopped for %s", strings.Join(texts, "; "))
}

// StopText says why the quarantining of an app is stopped, and how many receipts
// were quarantined before.
func StopText(s repository.QuarantineStop) string {
	text := fmt.Sprintf("%s since %s: %s of %s good receipts had the failure %q within the last day",
		s.BundleID, phrase.Time(s.Since), phrase.Count(s.Accused), phrase.Count(s.Checked), phrase.Words(s.Class))
	if s.Quarantined > 0 {
		text += fmt.Sprintf("; quarantined for it since %s: %s", phrase.Time(s.Since.Add(-24*time.Hour)), phrase.Count(s.Quarantined))
	}
	return text
}

// WantsSecret reports whether an app is paused for want of a good secret.
func WantsSecret(a apps.App) bool {
	return a.PausedCode != nil && (*a.PausedCode == apps.PausedNoSecret || *a.PausedCode == apps.PausedSecretRefused)
}
