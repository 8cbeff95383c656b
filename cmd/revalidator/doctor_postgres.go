package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"revalidator/internal/keyring"
	"revalidator/internal/ledger"
	"revalidator/internal/phrase"
)

// leastPostgres is the oldest version that the schema works with, as Postgres
// numbers it: 14.0.
const leastPostgres = 140000

func (d *doctor) postgresChecks() []doctorCheck {
	return []doctorCheck{
		{"postgres", d.postgres, true},
		{"postgres_version", d.postgresVersion, false},
		{"postgres_encoding", d.postgresEncoding, false},
		{"postgres_clock", d.postgresClock, false},
		{"schema", d.schemaVersion, true},
		{"apps", d.appsAtWork, false},
		{"keys", d.storedSecrets, false},
		{"secrets", d.missingSecrets, false},
		{"secret_age", d.oldSecrets, false},
		{"overdue", d.overdue, false},
		{"next_checks", d.nextChecks, false},
		{"runs", d.orphanedRuns, false},
		{"apple_time", d.appleTimes, false},
		{"last_run", d.lastRun, false},
		{"quarantine", d.stoppedQuarantine, false},
	}
}

func (d *doctor) postgres(ctx context.Context) finding {
	if err := d.openDatabase(ctx, true); err != nil {
		return brokenBy(err)
	}
	return sound("reachable")
}

func (d *doctor) postgresVersion(ctx context.Context) finding {
	server, err := d.db.Server(ctx)
	switch {
	case err != nil:
		return brokenBy(err)
	case server.Version < leastPostgres:
		return broken("upgrade Postgres", "%s is older than 14", server.Name)
	}
	return sound("%s", server.Name)
}

func (d *doctor) postgresEncoding(ctx context.Context) finding {
	server, err := d.db.Server(ctx)
	if err == nil {
		err = server.CheckEncoding()
	}
	if err != nil {
		return brokenBy(err)
	}
	return sound("%s", server.Encoding)
}

func (d *doctor) postgresClock(ctx context.Context) finding {
	before := d.now()
	server, err := d.db.Server(ctx)
	if err != nil {
		return brokenBy(err)
	}
	after := d.now()
	if err := d.readClocks(ctx); err != nil {
		return brokenBy(err)
	}
	return compareClocks("Postgres", server.Now, before, after)
}

func (d *doctor) schemaVersion(ctx context.Context) finding {
	current, known, err := d.db.SchemaVersion(ctx)
	switch {
	case err != nil:
		return brokenBy(err)
	case current < known:
		return broken("run 'revalidator migrate'", "version %d, this program needs %d", current, known)
	case current > known:
		return broken("upgrade this program", "version %d, newer than this program knows (%d)", current, known)
	}
	return sound("version %d", current)
}

// appsAtWork is a failure where an app stands still for want of a secret, and a
// warning where somebody has paused one.
func (d *doctor) appsAtWork(ctx context.Context) finding {
	apps, err := d.db.Apps(ctx)
	if err != nil {
		return brokenBy(err)
	}
	if len(apps) == 0 {
		return doubtful("run 'revalidator apps add BUNDLE_ID'", "none")
	}
	var paused []string
	wanting := false
	for _, a := range apps {
		if a.PausedAt != nil {
			paused = append(paused, fmt.Sprintf("%s (%s)", a.BundleID, ledger.PauseReason(a.PausedCode, a.PausedText)))
			wanting = wanting || wantsSecret(a)
		}
	}
	switch {
	case wanting:
		return broken("add a shared secret that Apple accepts with 'revalidator secrets add --app BUNDLE_ID'; the app then goes on by itself",
			"%d, of them paused: %s", len(apps), phrase.List(paused))
	case len(paused) > 0:
		return doubtful("run 'revalidator apps resume BUNDLE_ID' when the cause is gone", "%d, of them paused: %s", len(apps), phrase.List(paused))
	}
	return sound("%d enabled", len(apps))
}

// storedSecrets tries the keys on every secret.
func (d *doctor) storedSecrets(ctx context.Context) finding {
	secrets, err := d.db.StoredSecrets(ctx)
	if err != nil {
		return brokenBy(err)
	}
	if err := d.parts.open(ctx, needKeys); err != nil {
		return brokenBy(err)
	}
	closed := unreadable(d.keys, secrets)
	if len(closed) > 0 {
		return broken("give the keys that they were stored with in REVALIDATOR_KEYS, or add the secrets again",
			"%d of %d stored secrets do not open: %s", len(closed), len(secrets), phrase.List(closed))
	}
	return sound("open all %d stored secrets", len(secrets))
}

// unreadable lists the ids of the secrets that a ring does not open.
func unreadable(keys *keyring.Ring, secrets []ledger.SharedSecret) []string {
	var ids []string
	for _, s := range secrets {
		if _, err := keys.Open(s.Ciphertext, s.Row()); errors.Is(err, keyring.ErrUnreadable) {
			ids = append(ids, strconv.FormatInt(s.ID, 10))
		}
	}
	return ids
}

func (d *doctor) missingSecrets(ctx context.Context) finding {
	missing, err := d.warned(ctx, secretMissing)
	switch {
	case err != nil:
		return brokenBy(err)
	case len(missing) > 0:
		return broken("run 'revalidator secrets add --app BUNDLE_ID'", "none for %s", phrase.List(missing))
	}
	return sound("one for every app")
}

func (d *doctor) oldSecrets(ctx context.Context) finding {
	old, err := d.warned(ctx, secretOld)
	switch {
	case err != nil:
		return brokenBy(err)
	case len(old) > 0:
		return doubtful("make a new one in App Store Connect and run 'revalidator secrets add'; REVALIDATOR_SECRET_AGE sets the age",
			"older than %s: %s", phrase.Days(d.cfg.Keys.SecretAge), phrase.List(old))
	case d.cfg.Keys.SecretAge == 0:
		return sound("not looked at: REVALIDATOR_SECRET_AGE is 0")
	}
	return sound("none older than %s", phrase.Days(d.cfg.Keys.SecretAge))
}

// warned lists the apps with a warning about their secrets.
func (d *doctor) warned(ctx context.Context, about string) ([]string, error) {
	warnings, err := d.secretWarnings(ctx, d.parts.now())
	var apps []string
	for _, w := range warnings {
		if w.Warning == about {
			apps = append(apps, w.BundleID)
		}
	}
	return apps, err
}

func (d *doctor) overdue(ctx context.Context) finding {
	due, err := d.due(ctx, d.appleTime(), false)
	switch {
	case err != nil:
		return brokenBy(err)
	case due.OverdueSince != nil:
		return doubtful("see 'revalidator status'; more time (REVALIDATOR_RUN_WINDOW) or a higher rate ('revalidator apps set') gets more done",
			"receipts are due since %s, and the run of %s should have done them", phrase.Time(*due.Oldest), phrase.Time(*due.OverdueSince))
	}
	return sound("nothing")
}

// nextChecks looks for live subscriptions that would stay as they are for ever.
func (d *doctor) nextChecks(ctx context.Context) finding {
	found, err := d.db.UnscheduledSubscriptions(ctx, d.now(), phrase.Most+1)
	switch {
	case err != nil:
		return brokenBy(err)
	case len(found) == 0:
		return sound("every live subscription past its expiry has one")
	}
	ids := make([]string, 0, phrase.Most)
	for _, k := range found[:min(len(found), phrase.Most)] {
		ids = append(ids, k.BundleID+" "+k.OriginalTransactionID)
	}
	if len(found) > phrase.Most {
		ids = append(ids, "and more")
	}
	return broken("run 'revalidator explain ID' for one of them, 'revalidator receipts recheck' for its receipts, and report it",
		"subscriptions are past their expiry, not ended, and have no next check: %s", strings.Join(ids, ", "))
}

// appleTimes looks for endpoints whose replies agree that the clock is wrong.
func (d *doctor) appleTimes(ctx context.Context) finding {
	wrong, err := d.wrongClocks(ctx)
	if err != nil {
		return brokenBy(err)
	}
	var texts []string
	for _, c := range wrong {
		texts = append(texts, c.text())
	}
	if len(texts) > 0 {
		return broken("set the clock of the database's machine by NTP: checks are held but for one a minute, and go on by themselves when two of these agree with it",
			"%s", strings.Join(texts, "; "))
	}
	return sound("no sign that the clock is wrong")
}

// orphanedRuns looks for runs that no process feeds.
func (d *doctor) orphanedRuns(ctx context.Context) finding {
	runs, err := d.db.RecentRuns(ctx, lastRuns)
	if err != nil {
		return brokenBy(err)
	}
	var orphans []string
	running := 0
	for _, t := range runs {
		if t.State != ledger.RunRunning {
			continue
		}
		running++
		if t.OwnerUntil.Before(d.parts.now()) {
			orphans = append(orphans, strconv.FormatInt(t.ID, 10))
		}
	}
	if len(orphans) > 0 {
		return doubtful("start 'revalidator scheduler', which takes it over", "no process feeds run %s", phrase.List(orphans))
	}
	return sound("%d running", running)
}

// Failures of a run that are worth a word: so many receipts, and such a part of
// those that were done.
const (
	failedReceipts = 20
	failedShare    = 0.05
)

// lastRun is a warning where many receipts of the last run failed.
func (d *doctor) lastRun(ctx context.Context) finding {
	run, err := d.db.LastFinished(ctx)
	if errors.Is(err, ledger.ErrNotFound) {
		return sound("no run has finished yet")
	}
	if err != nil {
		return brokenBy(err)
	}
	if run.Failed < failedReceipts || float64(run.Failed) < failedShare*float64(run.Done) {
		return sound("%s of %s receipts failed", phrase.Count(run.Failed), phrase.Count(run.Done))
	}
	failures, err := d.db.RunFailures(ctx, run.ID)
	if err != nil {
		return brokenBy(err)
	}
	classes := make([]string, len(failures))
	for i, f := range failures {
		classes[i] = fmt.Sprintf("%s (%s)", phrase.Words(f.Class), phrase.Count(f.Answers))
	}
	return doubtful("see 'revalidator explain' of one of them ('revalidator receipts list') for what each failure means",
		"%s of %s receipts of run %d failed, with %s", phrase.Count(run.Failed), phrase.Count(run.Done), run.ID, phrase.List(classes))
}

// stoppedQuarantine is a failure where the quarantining of an app is stopped: a
// person has to find out whether its receipts are bad.
func (d *doctor) stoppedQuarantine(ctx context.Context) finding {
	stops, err := d.db.QuarantineStops(ctx, d.now())
	if err != nil {
		return brokenBy(err)
	}
	if len(stops) == 0 {
		return sound("not stopped for any app")
	}
	texts := make([]string, len(stops))
	wave := false
	for i, s := range stops {
		texts[i] = stopText(s)
		wave = wave || s.Quarantined > 0
	}
	fix := "find out with 'revalidator check' whether these receipts are bad; if not, nothing is lost, and quarantining resumes by itself once that is over for a day; " +
		"if so, 'revalidator apps resume BUNDLE_ID --quarantine'"
	if wave {
		fix += "; have those that were quarantined before checked again with 'revalidator receipts release --app BUNDLE_ID --since TIME'"
	}
	return broken(fix, "stopped for %s", strings.Join(texts, "; "))
}

// stopText says why the quarantining of an app is stopped, and how many receipts
// were quarantined before.
func stopText(s ledger.QuarantineStop) string {
	text := fmt.Sprintf("%s since %s: %s of %s good receipts had the failure %q within the last day",
		s.BundleID, phrase.Time(s.Since), phrase.Count(s.Accused), phrase.Count(s.Checked), phrase.Words(s.Class))
	if s.Quarantined > 0 {
		text += fmt.Sprintf("; quarantined for it since %s: %s", phrase.Time(s.Since.Add(-24*time.Hour)), phrase.Count(s.Quarantined))
	}
	return text
}
