package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// longLease is for scenarios in which answers are kept while Postgres is away:
// their claims have to last as long. A busy machine takes 10 s to start it again.
const longLease = "REVALIDATOR_CLAIM_LEASE=40s"

func postgresScenarios() []Scenario {
	all := []Scenario{
		{
			Name: "Postgres restarted", Alone: true, Short: true, Faults: "immediate shutdown, started again after 3 s, twice",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				for range 2 {
					if err := w.crashPostgres(ctx, 3*time.Second); err != nil {
						return err
					}
					if err := w.moves(ctx); err != nil {
						return err
					}
				}
				return nil
			}),
		},
		{
			Name: "Postgres failing over", Alone: true, Faults: "connections ended, then read-only for 4 s",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				return w.whileSet(ctx, "default_transaction_read_only = on", 4*time.Second)
			}),
		},
		{
			Name: "Postgres refuses", Alone: true, Faults: "no connection left for the role, for 4 s",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				if err := w.administer(ctx, `ALTER ROLE `+role+` CONNECTION LIMIT 0`); err != nil {
					return err
				}
				if err := w.endConnections(ctx); err != nil {
					return err
				}
				if err := hold(ctx, 4*time.Second); err != nil {
					return err
				}
				return w.administer(ctx, `ALTER ROLE `+role+` CONNECTION LIMIT -1`)
			}),
		},
		{
			Name: "Postgres slow", Faults: "each answer 50 to 150 ms late, for 10 s",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				w.SchedulerPostgres.Add(delay(100*time.Millisecond, 50*time.Millisecond))
				if err := w.WorkerPostgres.Suffer(ctx, delay(100*time.Millisecond, 50*time.Millisecond), 10*time.Second); err != nil {
					return err
				}
				return w.SchedulerPostgres.Mend(ctx)
			}),
		},
		{
			Name: "serialization failures", Faults: "SQLSTATE 40001 or 40P01 for a fifth of the writes, for 8 s",
			Attack: afterAStart(failWrites),
		},
		{
			Name: "Postgres' disk full", Alone: true, Faults: "no space left in the tablespace, for 4 s",
			Prepare: smallDisk, Attack: afterAStart(fillDisk),
		},
	}
	for i := range all {
		all[i].Settings = []string{longLease}
	}
	return all
}

func (w *World) administer(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := w.suite.admin.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%.60s: %w", statement, err)
		}
	}
	return nil
}

// endConnections ends those of the program.
func (w *World) endConnections(ctx context.Context) error {
	return w.administer(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '`+role+`'`)
}

func (w *World) crashPostgres(ctx context.Context, d time.Duration) error {
	if err := w.suite.postgres.Halt(); err != nil {
		return err
	}
	if err := hold(ctx, d); err != nil {
		return err
	}
	if err := w.suite.postgres.Resume(ctx); err != nil {
		return err
	}
	// The harness's own connections are dead too.
	return await(ctx, "Postgres answers", patience, func(ctx context.Context) (bool, error) {
		_, err := w.Done(ctx)
		if err == nil {
			err = w.suite.admin.PingContext(ctx)
		}
		return err == nil, err
	})
}

// whileSet has a setting of the role for a while, in new connections.
func (w *World) whileSet(ctx context.Context, setting string, d time.Duration) error {
	if err := w.administer(ctx, `ALTER ROLE `+role+` SET `+setting); err != nil {
		return err
	}
	if err := w.endConnections(ctx); err != nil {
		return err
	}
	if err := hold(ctx, d); err != nil {
		return err
	}
	// Another server answers after a failover: its connections are new.
	if err := w.administer(ctx, `ALTER ROLE `+role+` RESET ALL`); err != nil {
		return err
	}
	return w.endConnections(ctx)
}

// failWrites has a trigger fail some statements as Postgres does by itself
// under load.
func failWrites(ctx context.Context, w *World) error {
	const begin = `
		CREATE FUNCTION judge.fail() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF random() < 0.1 THEN RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END IF;
			IF random() < 0.1 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF;
			RETURN NULL;
		END $$;
		CREATE TRIGGER fail AFTER UPDATE ON receipts FOR EACH STATEMENT EXECUTE FUNCTION judge.fail();
		GRANT USAGE ON SCHEMA judge TO ` + role
	if _, err := w.DB.ExecContext(ctx, begin); err != nil {
		return err
	}
	if err := hold(ctx, 8*time.Second); err != nil {
		return err
	}
	_, err := w.DB.ExecContext(ctx, `DROP TRIGGER fail ON receipts`)
	return err
}

const diskSize = 96 << 20

// smallDisk puts the database of the scenario on a disk of its own.
func smallDisk(ctx context.Context, w *World) error {
	folder := filepath.Join(w.folder, "disk")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	unmount, err := mountSmallDisk(folder, diskSize)
	if err != nil {
		return err
	}
	w.defers(unmount)
	place := filepath.Join(folder, "space")
	if err := os.Mkdir(place, 0o700); err != nil {
		return err
	}
	if err := w.suite.postgres.Own(place); err != nil {
		return err
	}
	for up := w.folder; up != "/" && up != os.TempDir(); up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o711); err != nil { // the server must get there
			return err
		}
	}
	if err := w.administer(ctx, `CREATE TABLESPACE tight LOCATION '`+place+`'`); err != nil {
		return err
	}
	w.defers(func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return w.administer(ctx, `DROP TABLESPACE tight`)
	})
	return w.createDatabase(ctx, "tight")
}

// fillDisk takes all room on the disk for a while.
func fillDisk(ctx context.Context, w *World) error {
	ballast := filepath.Join(w.folder, "disk", "ballast")
	file, err := os.Create(ballast)
	if err != nil {
		return err
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = file.Write(block) // until it is full
	}
	_ = file.Close()
	if err := hold(ctx, 4*time.Second); err != nil {
		return err
	}
	return os.Remove(ballast)
}
