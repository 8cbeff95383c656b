package main

import (
	"context"
	"fmt"

	"revalidator/internal/terminal"
)

// queueChecks need both Postgres and Redis.
func (d *doctor) queueChecks() []doctorCheck {
	return []doctorCheck{
		{"queue_owner", d.ownedQueue, true},
		{"queue_servers", d.oneServer, false},
		{"schedulers", d.schedulers, false},
		{"claims", d.claimsHaveTasks, false},
	}
}

func (d *doctor) ownedQueue(ctx context.Context) finding {
	if err := d.readInstallation(ctx); err != nil {
		return brokenBy(err)
	}
	o, err := d.queueOwner(ctx)
	switch {
	case err != nil:
		return brokenBy(err)
	case o.Owner != nil && !o.Own:
		return broken("set REDIS_URL to a Redis of this database's own; or, where it takes the place of the other one, "+
			"stop all programs of that one and run 'revalidator queue adopt'", "Redis holds the queue of another %s; this is %s", o.Owner, o.Installation)
	}
	return sound("%s", o.text(new(terminal.Page)))
}

// oneServer looks for a copy of the whole server, which shares the queue.
func (d *doctor) oneServer(ctx context.Context) finding {
	servers, err := d.queue().Servers(ctx)
	switch {
	case err != nil:
		return brokenBy(err)
	case len(servers) > 1:
		return doubtful("nothing after a restart or a failover of Postgres, seconds ago; "+
			"else stop the programs of one of them, or give them a Redis of their own: after a minute nothing is enqueued any more",
			"processes of this installation use different servers of Postgres: %s", fmt.Sprint(servers))
	}
	return sound("all processes use one server of Postgres")
}

func (d *doctor) schedulers(ctx context.Context) finding {
	running, err := d.queue().Schedulers(ctx)
	switch {
	case err != nil:
		return brokenBy(err)
	case len(running) == 0:
		return broken("start 'revalidator scheduler'", "none is running: no nightly run is opened")
	}
	return sound("%d running", len(running))
}

// claimsHaveTasks looks for claims whose tasks are gone.
func (d *doctor) claimsHaveTasks(ctx context.Context) finding {
	n, err := d.silentClaims(ctx)
	switch {
	case err != nil:
		return brokenBy(err)
	case n > 0:
		return doubtful(fmt.Sprintf("nothing, if tasks were deleted by hand or Redis lost some: the receipts are due again within %s; "+
			"if it goes on, look for somebody else who uses this Redis", d.cfg.Queue.ClaimLease), "%s", silentText(n))
	}
	return sound("every claim has its task")
}
