package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bench is one run of the benchmark. Everything that it starts ends before
// measure returns.
type bench struct {
	folder string // of programs and logs
	// dueRows is how many receipts the largest table of the row "pages" has.
	dueRows int
	// quick makes everything smaller, for a look at whether it works.
	quick bool
	table table
}

// part measures one or more rows of the table.
type part struct {
	name string
	run  func(*bench, context.Context) error
}

func parts() []part {
	return []part{
		{"small", (*bench).small},
		{"large", (*bench).large},
		{"feed", (*bench).feed},
		{"import", (*bench).imports},
		{"pages", (*bench).pages},
		{"rate", (*bench).rate},
	}
}

func measure(ctx context.Context, getenv func(string) string) (err error) {
	chosen, err := choose(getenv("ONLY"))
	if err != nil {
		return err
	}
	b := &bench{quick: getenv("QUICK") != "", dueRows: 10_000_000}
	if b.quick {
		b.dueRows = 1_000_000
	}
	if text := getenv("ROWS"); text != "" {
		if b.dueRows, err = strconv.Atoi(text); err != nil || b.dueRows < 100_000 {
			return fmt.Errorf("ROWS=%s: want a number from 100000 on", text)
		}
	}
	b.folder, err = os.MkdirTemp("", "revalidator-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.folder)) }()
	if err := b.build(ctx); err != nil {
		return err
	}
	for _, p := range chosen {
		started := time.Now()
		say("measuring %s …", p.name)
		if err := p.run(b, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", p.name, err)
		}
		say("measuring %s took %s", p.name, time.Since(started).Round(time.Second))
	}
	if err := b.table.print(os.Stdout); err != nil {
		return err
	}
	if missed := b.table.missed(); missed > 0 && getenv("CHECK") == "1" {
		return fmt.Errorf("%d targets are missed", missed)
	}
	return nil
}

// choose finds the parts that ONLY names, all of them where it is empty.
func choose(only string) ([]part, error) {
	if only == "" {
		return parts(), nil
	}
	var chosen []part
	for _, name := range strings.Split(only, ",") {
		i := slices.IndexFunc(parts(), func(p part) bool { return p.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("ONLY=%s: want some of small, large, feed, import, pages, rate, separated by commas", only)
		}
		chosen = append(chosen, parts()[i])
	}
	return chosen, nil
}

// build builds the program. The other processes are this one in another role.
func (b *bench) build(ctx context.Context) error {
	say("building the program …")
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(b.folder, "revalidator"), "./cmd/revalidator")
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("build the program: %w", err)
	}
	return nil
}

// size is n, or a tenth of it for a quick look.
func (b *bench) size(n int) int {
	if b.quick {
		return n / 10
	}
	return n
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
