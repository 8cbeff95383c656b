package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// servers is what Postgres and Redis have used, which says what bounds a figure.
type servers struct{ postgres, redis time.Duration }

func (s *stack) servers(ctx context.Context) (servers, error) {
	backend, err := s.backend(ctx, s.db)
	if err != nil {
		return servers{}, err
	}
	postgres, err := family(backend.parent)
	if err != nil {
		return servers{}, err
	}
	info, err := s.redis.Info(ctx, "cpu").Result()
	if err != nil {
		return servers{}, err
	}
	var redis float64
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return servers{}, err
			}
			redis += seconds
		}
	}
	return servers{postgres, time.Duration(redis * float64(time.Second))}, nil
}

// backend is what the process of Postgres has used that serves a connection.
func (s *stack) backend(ctx context.Context, db interface {
	GetContext(ctx context.Context, dest any, query string, args ...any) error
}) (stat, error) {
	var pid int
	if err := db.GetContext(ctx, &pid, `SELECT pg_backend_pid()`); err != nil {
		return stat{}, err
	}
	return processStat(pid)
}

// since is what the servers have used from then to now.
func (now servers) since(then servers) servers {
	return servers{now.postgres - then.postgres, now.redis - then.redis}
}

func (s servers) total() time.Duration { return s.postgres + s.redis }

// each tells what the servers have used since for each of n receipts.
func (before servers) each(after servers, n int) string {
	return fmt.Sprintf("Postgres %s, Redis %s each", each(after.postgres-before.postgres, n), each(after.redis-before.redis, n))
}

// each is the part of one of n receipts.
func each(d time.Duration, n int) time.Duration {
	return (d / time.Duration(n)).Round(time.Microsecond)
}

// stat is what Linux describes a process.
type stat struct {
	parent int
	// own is its processor time, ended that of its children that have ended.
	own, ended time.Duration
}

func processStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The name in brackets may hold blanks; the fields after it are 3 and on.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var numbers [15]int64
	for i := 1; i < len(numbers); i++ {
		if numbers[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return stat{}, err
		}
	}
	const tick = time.Second / ticks
	return stat{int(numbers[1]), time.Duration(numbers[11]+numbers[12]) * tick, time.Duration(numbers[13]+numbers[14]) * tick}, nil
}

// family is the processor time of a process and its children. It counts again where
// one of these ended meanwhile, who would be in neither sum: at the end of a run the
// connections of that do.
func family(pid int) (time.Duration, error) {
	before, err := processStat(pid)
	for err == nil {
		var children time.Duration
		if children, err = ownOfChildren(pid); err != nil {
			break
		}
		var after stat
		if after, err = processStat(pid); err == nil && after.ended == before.ended {
			return after.own + after.ended + children, nil
		}
		before = after
	}
	return 0, err
}

func ownOfChildren(pid int) (total time.Duration, err error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		child, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		if s, err := processStat(child); err == nil && s.parent == pid {
			total += s.own
		}
	}
	return total, err
}
