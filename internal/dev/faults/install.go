package faults

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/devstack"
	"revalidator/internal/dev/judge"
)

// learn installs the program, imports the receipts and asks about each.
func (s *Suite) learn(ctx context.Context) (err error) {
	if s.redis, err = devstack.StartRedis(ctx, devstack.Config{Logger: s.cfg.Logger}); err != nil {
		return err
	}
	sim, err := s.newAppStore(nil)
	if err != nil {
		return err
	}
	apple, err := serveAppStore(sim)
	if err != nil {
		return err
	}
	defer apple.close()
	env := s.environment(s.databaseURL(learned, false), s.redis.URL, apple.url, apple.clock())
	if err := s.install(ctx, sim, env); err != nil {
		return err
	}
	db, err := sql.Open("postgres", s.databaseURL(learned, true))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // nobody may be connected to a template
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM receipts`).Scan(&s.receipts); err != nil {
		return err
	}
	j := judge.New(db, sim)
	if err := errors.Join(j.Watch(ctx), traceClaims(ctx, db)); err != nil {
		return err
	}
	if err := s.command(ctx, env, "run", "--worker", "--quiet"); err != nil {
		return err
	}
	differences, err := j.Differences(ctx)
	if err == nil && len(differences) > 0 {
		err = fmt.Errorf("the first night, without faults, did not end in the truth: %s", differences[0])
	}
	return err
}

// install does what a person does first, command by command.
func (s *Suite) install(ctx context.Context, sim *applesim.Server, env []string) error {
	if err := s.command(ctx, env, "migrate"); err != nil {
		return err
	}
	for _, app := range applesim.DefaultApps(simSeed) {
		file := filepath.Join(s.folder, app.BundleID+".secret")
		if err := os.WriteFile(file, []byte(app.Secrets[0]+"\n"), 0o600); err != nil {
			return err
		}
		if err := s.command(ctx, env, "apps", "add", app.BundleID, "--rate", "2000", "--burst", "100"); err != nil {
			return err
		}
		if err := s.command(ctx, env, "secrets", "add", "--app", app.BundleID, "--file", file); err != nil {
			return err
		}
	}
	name := filepath.Join(s.folder, "receipts.ndjson")
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := errors.Join(sim.WriteReceipts(file, ""), file.Close()); err != nil {
		return err
	}
	return errors.Join(s.command(ctx, env, "import", name), os.Remove(name))
}

// command runs a command of the program to its end.
func (s *Suite) command(ctx context.Context, env []string, args ...string) error {
	_, err := s.output(ctx, env, args...)
	return err
}

// output is command, and what it prints.
func (s *Suite) output(ctx context.Context, env []string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, s.binary, args...)
	var stderr bytes.Buffer
	c.Env, c.Stderr = env, &stderr
	output, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("revalidator %s: %w\n%s%s", args[0], err, output, &stderr)
	}
	return output, nil
}

// lease is how long a claim holds in the scenarios: as short as the settings
// allow, so that recovery is seen in seconds.
const (
	lease        = 8 * time.Second
	stopDeadline = 5 * time.Second
)

// environment is all that the programs see: the suite's settings and none of
// whoever started it.
func (s *Suite) environment(databaseURL, redisURL, appleURL, clockURL string) []string {
	slot := time.Now().UTC().Add(-time.Hour)
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.folder, "TMPDIR=" + os.TempDir(),
		"DATABASE_URL=" + databaseURL,
		"REDIS_URL=" + redisURL,
		"REVALIDATOR_KEYS=" + s.keyset,
		"REVALIDATOR_APPLE_PRODUCTION_URL=" + appleURL + "/production/verifyReceipt",
		"REVALIDATOR_APPLE_SANDBOX_URL=" + appleURL + "/sandbox/verifyReceipt",
		"REVALIDATOR_CLOCK_URL=" + clockURL,
		"REVALIDATOR_LOG_LEVEL=debug",
		// The slot of an hour ago was missed: it is caught up at once, and once.
		fmt.Sprintf("REVALIDATOR_SCHEDULE=%d %d * * *", slot.Minute(), slot.Hour()),
		"REVALIDATOR_APPLE_TIMEOUT=2s",
		"REVALIDATOR_QUEUE_AHEAD=1s",
		"REVALIDATOR_LIMITER_WAIT=1s",
		"REVALIDATOR_CLAIM_LEASE=" + lease.String(),
		"REVALIDATOR_OWNER_LEASE=2s",
		"REVALIDATOR_RETRY_BASE=1s",
		"REVALIDATOR_RETRY_MAX=4s",
		"REVALIDATOR_RETRY_LIMIT=1000", // no receipt leaves the run
		"REVALIDATOR_SHUTDOWN_TIMEOUT=" + stopDeadline.String(),
		"REVALIDATOR_MAX_REPLY_BYTES=1048576",
	}
}
