package main

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

func (d *doctor) redisChecks() []doctorCheck {
	return []doctorCheck{
		{"redis", d.reachRedis, true},
		{"redis_version", d.redisVersion, false},
		{"redis_clock", d.redisClock, false},
		{"redis_eviction", d.redisEviction, false},
		{"redis_memory", d.redisMemory, false},
		{"workers", d.workersAtWork, false},
		{"apple_distress", d.appleDistress, false},
	}
}

func (d *doctor) reachRedis(ctx context.Context) finding {
	if err := d.openRedis(ctx); err != nil {
		return brokenBy(err)
	}
	return sound("reachable")
}

// redisInfo is a section of what Redis says of itself. Of a Cluster one node
// speaks for all.
func (d *doctor) redisInfo(ctx context.Context, section string) (map[string]string, error) {
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

func (d *doctor) redisVersion(ctx context.Context) finding {
	info, err := d.redisInfo(ctx, "server")
	if err != nil {
		return brokenBy(err)
	}
	version := info["redis_version"]
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return doubtful("make sure that it is Redis 6.2 or newer", "Redis does not say which it is")
	}
	if major < 6 || major == 6 && minor < 2 {
		return broken("upgrade Redis", "%s is older than 6.2", version)
	}
	return sound("%s", version)
}

func (d *doctor) redisClock(ctx context.Context) finding {
	before := d.now()
	theirs, err := d.redis.Time(ctx).Result()
	if err != nil {
		return brokenBy(fmt.Errorf("ask redis for the time: %w", err))
	}
	return compareClocks("Redis", theirs, before, d.now())
}

func (d *doctor) redisEviction(ctx context.Context) finding {
	info, err := d.redisInfo(ctx, "memory")
	if err != nil {
		return brokenBy(err)
	}
	switch policy := info["maxmemory_policy"]; policy {
	case "noeviction":
		return sound("%s", policy)
	case "":
		return doubtful("make sure that maxmemory-policy is noeviction", "Redis does not say what it evicts")
	default:
		return broken("set maxmemory-policy to noeviction: 'redis-cli CONFIG SET maxmemory-policy noeviction', and in its configuration",
			"maxmemory-policy is %s: tasks would be lost when memory is short", policy)
	}
}

func (d *doctor) redisMemory(ctx context.Context) finding {
	info, err := d.redisInfo(ctx, "memory")
	if err != nil {
		return brokenBy(err)
	}
	used, err := strconv.ParseUint(info["used_memory"], 10, 64)
	if err != nil {
		return doubtful("make sure that Redis has memory to spare", "Redis does not say how much it uses")
	}
	limit, _ := strconv.ParseUint(info["maxmemory"], 10, 64)
	text := humanize.IBytes(used) + " used, no limit set"
	if limit > 0 {
		text = fmt.Sprintf("%s of %s used", humanize.IBytes(used), humanize.IBytes(limit))
	}
	if limit > 0 && float64(used) > memoryWarning*float64(limit) {
		return doubtful("raise maxmemory, or lower REVALIDATOR_QUEUE_DEPTH", "%s: a full Redis refuses tasks", text)
	}
	return sound("%s", text)
}

// workersAtWork looks for a worker for each lane.
func (d *doctor) workersAtWork(context.Context) finding {
	workers, err := d.workers()
	if err != nil {
		return brokenBy(err)
	}
	for _, lane := range jobs.Queues() {
		served := slices.ContainsFunc(workers, func(w workerReport) bool { return slices.Contains(w.Queues, lane) })
		if !served {
			return broken("start 'revalidator worker'", "none serves the queue %s: nobody asks Apple", lane)
		}
	}
	return sound("%d running", len(workers))
}

// appleDistress looks for apps of which Apple is asked less, or nothing.
func (d *doctor) appleDistress(ctx context.Context) finding {
	budgets, err := d.budgets(ctx)
	if err != nil {
		return brokenBy(err)
	}
	var held, slowed, blocked []string
	bySize := false
	for _, b := range budgets {
		name := b.name()
		switch {
		case b.HeldBackSince != nil:
			held = append(held, name+", for "+phrase.Words(b.HeldBackFor))
			bySize = bySize || b.Size != ""
		case b.BlockedUntil != nil:
			blocked = append(blocked, fmt.Sprintf("%s until %s", name, phrase.Time(*b.BlockedUntil)))
		case b.Unreadable:
			return doubtful("see who else writes to this Redis: give revalidator one of its own", "what Redis holds of failures for %s is not readable", name)
		default:
			slowed = append(slowed, fmt.Sprintf("%s, %.0f %% of the rate", name, 100*b.RateShare))
		}
	}
	switch {
	case bySize:
		return doubtful("raise the limit of the proxy between here and Apple that answers HTTP 413; requests of that size are probed, and go on by themselves",
			"calls are held back for %s", phrase.List(held))
	case len(held) > 0:
		return doubtful("nothing, if Apple is failing: it is probed, and goes on by itself; "+
			"where 'revalidator doctor' shows that Apple answers, look at the class with 'revalidator check'",
			"calls are held back for %s", phrase.List(held))
	case len(blocked) > 0:
		return doubtful("nothing, if it is not long: calls go on by themselves; lower the rate with 'revalidator apps set' where it comes again",
			"Apple wants no calls (HTTP 429) for %s", phrase.List(blocked))
	case len(slowed) > 0:
		return doubtful("nothing: the rate creeps back by itself", "Apple is asked less for %s", phrase.List(slowed))
	}
	return sound("none is seen: every app has its rate")
}
