package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

func ownerScenarios() []Scenario {
	return []Scenario{
		{
			Name: "two databases", Short: true, Faults: "a scheduler, a worker and a run of a second database on the same Redis, twice",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				// Another installation from its beginning.
				return w.attackByStrangers(ctx, `UPDATE installation SET id = gen_random_uuid()`)
			}),
		},
		{
			Name: "staging copy", Faults: "a scheduler, a worker and a run of a copy of the database on the production Redis, twice",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				return w.attackByStrangers(ctx, `UPDATE apps SET name = 'staging'`)
			}),
		},
		{
			Name: "database restored", Faults: "restored in the middle of the run, with its tasks still in Redis; refused, then adopted",
			Settings: []string{"REVALIDATOR_RETENTION=1h"}, Attack: afterAStart(restore),
		},
	}
}

// refusal is what a program says that is given the Redis of another installation.
const refusal = "holds the queue of another installation"

// attackByStrangers starts the programs of a copy of the first night's database on
// the Redis of this one, after a statement in it. They must end by themselves, and
// not change what belongs to the copy.
func (w *World) attackByStrangers(ctx context.Context, change string) error {
	name := w.database + "_copy"
	if err := w.copyBeside(ctx, name); err != nil {
		return err
	}
	url := w.suite.databaseURL(name, false)
	if err := w.execIn(ctx, name, change); err != nil {
		return err
	}
	env := append(slices.DeleteFunc(slices.Clone(w.workerEnv), func(v string) bool { return strings.HasPrefix(v, "DATABASE_URL=") }),
		"DATABASE_URL="+url)
	for range 2 {
		for _, command := range [][]string{{"scheduler"}, {"worker"}, {"run", "--quiet"}} {
			p, err := w.start(env, command[0], command[1:]...)
			if err != nil {
				return err
			}
			if err := p.isRefused(ctx); err != nil {
				return err
			}
		}
		if err := w.moves(ctx); err != nil {
			return err
		}
	}
	return nil
}

// copyBeside is copyLearned while other scenarios copy.
func (w *World) copyBeside(ctx context.Context, name string) error {
	w.suite.copying.Lock()
	defer w.suite.copying.Unlock()
	return w.copyLearned(ctx, name, "")
}

// isRefused waits for the end of a program, which must tell why.
func (p *process) isRefused(ctx context.Context) error {
	select {
	case <-p.Ended():
	case <-time.After(patience):
		return &brokenPromise{p.name + " of another installation runs on this Redis"}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err
	}
	if p.Err() == nil || !strings.Contains(string(text), refusal) || !strings.Contains(string(text), "queue adopt") {
		return &brokenPromise{fmt.Sprintf("%s of another installation was not refused with what to do: %v", p.name, p.Err())}
	}
	return nil
}

// restore puts the database back to where it was after the first night, while tasks
// of this night wait, and others have ended and are retained.
func restore(ctx context.Context, w *World) error {
	for len(w.schedulers) > 0 {
		if err := w.StopScheduler(); err != nil {
			return err
		}
	}
	for len(w.workers) > 0 {
		if err := w.StopWorker(); err != nil {
			return err
		}
	}
	w.DB.SetMaxIdleConns(-1) // the database is dropped under them
	if _, err := w.suite.admin.ExecContext(ctx, `DROP DATABASE `+w.database+` WITH (FORCE)`); err != nil {
		return err
	}
	if err := w.createDatabase(ctx, ""); err != nil {
		return err
	}
	if err := w.prepareDatabase(ctx); err != nil {
		return err
	}
	w.passOver()
	for _, kind := range []string{"worker", "scheduler"} {
		p, err := w.start(w.feederEnv, kind)
		if err != nil {
			return err
		}
		if err := p.isRefused(ctx); err != nil {
			return err
		}
	}
	if err := w.suite.command(ctx, w.feederEnv, "queue", "adopt", "--yes"); err != nil {
		return err
	}
	return w.startAll()
}

// passOver has what was asked so far not count.
func (w *World) passOver() {
	for e := range w.Sim.Log(0) {
		w.since = e.Seq
	}
	w.started = w.now()
}

// execIn executes a statement in another database, which nobody uses.
func (w *World) execIn(ctx context.Context, database, statement string) (err error) {
	db, err := sql.Open("postgres", w.suite.databaseURL(database, true))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, statement)
	return err
}
