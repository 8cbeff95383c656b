package report

import (
	"context"
	"fmt"

	"revalidator/jobs"
)

// queueChecks need both Postgres and Redis.
func (d *Doctor) queueChecks() []doctorCheck {
	return []doctorCheck{
		{"queue_owner", d.ownedQueue, true},
		{"queue_servers", d.oneServer, false},
		{"schedulers", d.schedulers, false},
		{"claims", d.claimsHaveTasks, false},
	}
}

func (d *Doctor) ownedQueue(ctx context.Context) Finding {
	if err := d.ReadInstallation(ctx); err != nil {
		return failBy(err)
	}
	o, err := d.queue.Owner(ctx)
	switch {
	case err != nil:
		return failBy(err)
	case o.Owner != nil && !o.Own:
		return fail("set REDIS_URL to a Redis of this database's own; or, where it takes the place of the other one, "+
			"stop all programs of that one and run 'revalidator queue adopt'", "Redis holds the queue of another %s; this is %s", o.Owner, o.Installation)
	}
	return ok("%s", o)
}

// oneServer looks for a copy of the whole server, which shares the queue.
func (d *Doctor) oneServer(ctx context.Context) Finding {
	servers, err := d.queue.Queue.Servers(ctx)
	switch {
	case err != nil:
		return failBy(err)
	case len(servers) > 1:
		return warn("nothing after a restart or a failover of Postgres, seconds ago; "+
			"else stop the programs of one of them, or give them a Redis of their own: after a minute nothing is enqueued any more",
			"processes of this installation use different servers of Postgres: %s", fmt.Sprint(servers))
	}
	return ok("all processes use one server of Postgres")
}

func (d *Doctor) schedulers(ctx context.Context) Finding {
	running, err := d.queue.Queue.Running(ctx, jobs.KindScheduler)
	switch {
	case err != nil:
		return failBy(err)
	case len(running) == 0:
		return fail("start 'revalidator scheduler'", "none is running: no nightly run is opened")
	}
	return ok("%d running", len(running))
}

// claimsHaveTasks looks for claims whose tasks are gone.
func (d *Doctor) claimsHaveTasks(ctx context.Context) Finding {
	n, err := d.queue.silentClaims(ctx)
	switch {
	case err != nil:
		return failBy(err)
	case n > 0:
		return warn(fmt.Sprintf("nothing, if tasks were deleted by hand or Redis lost some: the receipts are due again within %s; "+
			"if that continues, find the other programs that use this Redis", d.ClaimLease), "%s", SilentText(n))
	}
	return ok("every claim has its task")
}
