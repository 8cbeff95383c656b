package report

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/dustin/go-humanize"

	"revalidator/internal/phrase"
	"revalidator/jobs"
)

// memoryWarning is how full Redis may be. When it is full it refuses tasks.
const memoryWarning = 0.8

func (d *Doctor) redisChecks() []doctorCheck {
	return []doctorCheck{
		{"redis", d.reachRedis, true},
		{"redis_version", d.redisVersion, false},
		{"redis_clock", d.redisClock, false},
		{"redis_eviction", d.redisEviction, false},
		{"redis_memory", d.redisMemory, false},
		{"workers", d.workersRunning, false},
		{"queue_retries", d.queueRetries, false},
		{"apple_distress", d.appleDistress, false},
	}
}

func (d *Doctor) reachRedis(ctx context.Context) Finding {
	client, err := d.OpenRedis(ctx)
	if err != nil {
		return failBy(err)
	}
	d.redis = client
	if d.queue, err = d.OpenQueue(); err != nil {
		return failBy(err)
	}
	return ok("reachable")
}

// redisInfo is a section of what Redis says of itself. Of a Cluster one node
// speaks for all.
func (d *Doctor) redisInfo(ctx context.Context, section string) (map[string]string, error) {
	info, err := d.redis.InfoMap(ctx, section).Result()
	if err != nil {
		return nil, fmt.Errorf("ask redis about itself: %w", err)
	}
	all := make(map[string]string)
	for _, values := range info {
		for name, value := range values {
			all[name] = value
		}
	}
	return all, nil
}

func (d *Doctor) redisVersion(ctx context.Context) Finding {
	info, err := d.redisInfo(ctx, "server")
	if err != nil {
		return failBy(err)
	}
	version := info["redis_version"]
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return warn("make sure that it is Redis 6.2 or newer", "Redis does not say which it is")
	}
	if major < 6 || major == 6 && minor < 2 {
		return fail("upgrade Redis", "%s is older than 6.2", version)
	}
	return ok("%s", version)
}

func (d *Doctor) redisClock(ctx context.Context) Finding {
	before := d.Machine()
	theirs, err := d.redis.Time(ctx).Result()
	if err != nil {
		return failBy(fmt.Errorf("ask redis for the time: %w", err))
	}
	return compareClocks("Redis", theirs, before, d.Machine())
}

func (d *Doctor) redisEviction(ctx context.Context) Finding {
	info, err := d.redisInfo(ctx, "memory")
	if err != nil {
		return failBy(err)
	}
	switch policy := info["maxmemory_policy"]; policy {
	case "noeviction":
		return ok("%s", policy)
	case "":
		return warn("make sure that maxmemory-policy is noeviction", "Redis does not say what it evicts")
	default:
		return fail("set maxmemory-policy to noeviction: 'redis-cli CONFIG SET maxmemory-policy noeviction', and in its configuration",
			"maxmemory-policy is %s: tasks would be lost when memory is short", policy)
	}
}

func (d *Doctor) redisMemory(ctx context.Context) Finding {
	info, err := d.redisInfo(ctx, "memory")
	if err != nil {
		return failBy(err)
	}
	used, err := strconv.ParseUint(info["used_memory"], 10, 64)
	if err != nil {
		return warn("make sure that Redis has memory to spare", "Redis does not say how much it uses")
	}
	limit, _ := strconv.ParseUint(info["maxmemory"], 10, 64)
	text := humanize.IBytes(used) + " used, no limit set"
	if limit > 0 {
		text = fmt.Sprintf("%s of %s used", humanize.IBytes(used), humanize.IBytes(limit))
	}
	if limit > 0 && float64(used) > memoryWarning*float64(limit) {
		return warn("raise maxmemory, or lower REVALIDATOR_QUEUE_DEPTH", "%s: a full Redis refuses tasks", text)
	}
	return ok("%s", text)
}

// workersRunning looks for a worker for each lane.
func (d *Doctor) workersRunning(ctx context.Context) Finding {
	workers, err := d.queue.workers()
	if err != nil {
		return failBy(err)
	}
	for _, lane := range jobs.Queues() {
		served := slices.ContainsFunc(workers, func(w Worker) bool { return slices.Contains(w.Queues, lane) })
		if !served {
			return fail("start 'revalidator worker'", "no worker serves the queue %s: Apple is not asked", lane)
		}
	}
	return ok("%d running", len(workers))
}

// queueRetries looks for tasks that failed by a fault of this installation, and wait to
// be executed again. Receipts that failed at Apple's wait in Postgres.
func (d *Doctor) queueRetries(context.Context) Finding {
	queues, err := d.queue.Inspector.Queues()
	if err != nil {
		return failBy(fmt.Errorf("list queues: %w", err))
	}
	retries := 0
	for _, name := range queues {
		info, err := d.queue.Inspector.GetQueueInfo(name)
		if err != nil {
			return failBy(fmt.Errorf("read queue %s: %w", name, err))
		}
		retries += info.Retry
	}
	if retries > 0 {
		return warn("see the log of the workers for the cause: Postgres may be failing; after three retries a receipt is due again when its claim expires",
			"%s tasks wait for a retry, because of a fault of this installation and not of Apple", phrase.Count(int64(retries)))
	}
	return ok("no task waits for a retry")
}

// appleDistress looks for apps of which Apple is asked less, or nothing.
func (d *Doctor) appleDistress(ctx context.Context) Finding {
	budgets, err := ReadBudgets(ctx, d.queue.Limiter)
	if err != nil {
		return failBy(err)
	}
	var held, slowed, blocked []string
	bySize := false
	for _, b := range budgets {
		name := b.Name()
		switch {
		case b.HeldBackSince != nil:
			held = append(held, name+", for "+phrase.Words(b.HeldBackFor))
			bySize = bySize || b.Size != ""
		case b.BlockedUntil != nil:
			blocked = append(blocked, fmt.Sprintf("%s until %s", name, phrase.Time(*b.BlockedUntil)))
		case b.Unreadable:
			return warn("see who else writes to this Redis: give revalidator one of its own", "what Redis holds of failures for %s is not readable", name)
		default:
			slowed = append(slowed, fmt.Sprintf("%s, %.0f %% of the rate", name, 100*b.RateShare))
		}
	}
	switch {
	case bySize:
		return warn("raise the limit of the proxy between here and Apple that responds with HTTP 413; requests of that size are probed, and resume by themselves",
			"calls are held back for %s", phrase.List(held))
	case len(held) > 0:
		return warn("nothing, if Apple is failing: it is probed, and resumes by itself; "+
			"where 'revalidator doctor' shows that Apple responds, examine the class with 'revalidator check'",
			"calls are held back for %s", phrase.List(held))
	case len(blocked) > 0:
		return warn("nothing, if it is not long: calls resume by themselves; lower the rate with 'revalidator apps set' where it comes again",
			"Apple wants no calls (HTTP 429) for %s", phrase.List(blocked))
	case len(slowed) > 0:
		return warn("nothing: the rate creeps back by itself", "calls to Apple are slowed down for %s", phrase.List(slowed))
	}
	return ok("none is seen: every app has its rate")
}
