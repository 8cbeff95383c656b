package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
		{"runs", (*bench).runs},
		{"rate", (*bench).rate},
		{"signatures", (*bench).signatures},
	}
}

func measure(ctx context.Context, getenv func(string) string) (err error) {
	o, err := newOptions(getenv)
	if err != nil {
		return err
	}
	b := &bench{quick: o.quick, dueRows: o.dueRows}
	b.folder, err = os.MkdirTemp("", "revalidator-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.folder)) }()
	if err := b.build(ctx); err != nil {
		return err
	}
	// Run by run: what is slow for a while then touches one run of each row.
	for range o.runs {
		if err := b.measureOnce(ctx, o.parts); err != nil {
			return err
		}
	}
	return b.table.report(os.Stdout, o)
}

func (b *bench) measureOnce(ctx context.Context, parts []part) error {
	for _, p := range parts {
		started := time.Now()
		say("measuring %s …", p.name)
		if err := p.run(b, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", p.name, err)
		}
		say("measuring %s took %s", p.name, time.Since(started).Round(time.Second))
	}
	return nil
}

// report prints the medians, writes the results of all runs where they are
// wanted, and is an error where a target is missed or a row is worse than before.
func (t *table) report(out io.Writer, o options) error {
	medians := t.medians()
	if err := medians.print(out); err != nil {
		return err
	}
	if o.out != "" {
		if err := t.writeResults(o.out); err != nil {
			return err
		}
	}
	var err error
	if o.before != nil {
		fmt.Fprintln(out)
		err = compare(out, o.before, t.results())
	}
	if missed := medians.missed(); missed > 0 && o.check {
		err = errors.Join(fmt.Errorf("%d targets are missed", missed), err)
	}
	return err
}

// name is that of a row, another one for a quick look.
func (b *bench) name(row string) string {
	if b.quick {
		return row + "/quick"
	}
	return row
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
			return nil, fmt.Errorf("ONLY=%s: want some of small, large, feed, import, pages, runs, rate, signatures, separated by commas", only)
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
