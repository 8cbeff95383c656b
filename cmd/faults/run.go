package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"time"

	"revalidator/internal/dev/faults"
)

var errUsage = errors.New("wrong usage")

const usage = `Usage: faults [flags]

Attacks installations of the built program, one scenario after the other, and
prints a table of what became of their promises. Exits 1 where any was broken.
All servers are started by this command and end with it.

Flags:
`

// longest is the longest time of -for: back-offs that grew as long have to end
// within the window of the run, which is 8 hours.
const longest = 2 * time.Hour

// options are the flags.
type options struct {
	short, list, asJSON bool
	only                *regexp.Regexp
	lasts               time.Duration
	receipts            int
	logs, binary        string
	parallel            int
	soak, nights        int
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.short, "short", false, "only the scenarios of the short suite, over fewer receipts: a minute or two")
	flags.BoolVar(&o.list, "list", false, "list the scenarios and end")
	flags.BoolVar(&o.asJSON, "json", false, "print the results as a list in JSON in place of the table")
	flags.IntVar(&o.receipts, "receipts", 0, "`number` of receipts in each scenario (default 1200, short 400)")
	flags.DurationVar(&o.lasts, "for", 0, "only the scenarios in which Apple is in trouble for a while, and for such a `time` in place of 8s, 2h at most;\n"+
		"from 10m on with leases and back-offs as in production")
	flags.StringVar(&o.logs, "logs", "", "keep what the programs log in this `folder`")
	flags.StringVar(&o.binary, "binary", "", "attack this `program` in place of the one that is built here")
	flags.IntVar(&o.parallel, "parallel", 3, "`number` of scenarios side by side; those that harm the Postgres of all run alone")
	flags.IntVar(&o.soak, "soak", 0, "in place of the scenarios, ask about so many receipts each night with random faults")
	flags.IntVar(&o.nights, "nights", 5, "`number` of nights of -soak")
	flags.Func("run", "only the scenarios whose names match this regular `expression`", func(text string) (err error) {
		o.only, err = regexp.Compile("(?i)" + text)
		return err
	})
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 || o.receipts < 0 || o.parallel < 1 || o.soak < 0 || o.lasts < 0 || o.lasts > longest || o.nights < 2 {
		flags.Usage()
		return o, errUsage
	}
	if o.receipts == 0 {
		o.receipts = 1200
		if o.short {
			o.receipts = 400
		}
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	chosen := o.scenarios()
	if o.list {
		for _, s := range chosen {
			fmt.Fprintf(stdout, "%-28s %s\n", s.Name, s.Injects())
		}
		return nil
	}
	if len(chosen) == 0 {
		return errors.New("no scenario has such a name: see -list")
	}
	began := time.Now()
	cfg := faults.SuiteConfig{
		Receipts: o.receipts, Folder: o.logs, Binary: o.binary,
		Say: func(format string, args ...any) {
			fmt.Fprintf(stderr, "%5.0fs  "+format+"\n", append([]any{time.Since(began).Seconds()}, args...)...)
		},
		Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if o.soak > 0 {
		return o.runSoak(ctx, cfg, stdout)
	}
	results, err := o.attack(ctx, cfg, chosen)
	if err := errors.Join(err, o.print(stdout, results)); err != nil {
		return err
	}
	broken := 0
	for _, r := range results {
		if !r.OK() {
			broken++
		}
	}
	if broken > 0 {
		return fmt.Errorf("%d of %d scenarios broke a promise", broken, len(results))
	}
	cfg.Say("%d scenarios, every promise kept", len(results))
	return nil
}

func (o options) scenarios() []faults.Scenario {
	var chosen []faults.Scenario
	for _, s := range faults.Scenarios() {
		if o.short && !s.Short || o.only != nil && !o.only.MatchString(s.Name) {
			continue
		}
		if o.lasts > 0 {
			if s.Lasts == 0 {
				continue
			}
			s = s.For(o.lasts)
		}
		chosen = append(chosen, s)
	}
	return chosen
}

// attack runs scenarios, and tells of each as it ends. An error of the harness
// ends them all.
func (o options) attack(ctx context.Context, cfg faults.SuiteConfig, chosen []faults.Scenario) (results []faults.Result, err error) {
	suite, err := faults.NewSuite(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, suite.Close()) }()
	return suite.RunAll(ctx, chosen, o.parallel, func(r faults.Result) {
		cfg.Say("%s: %s", r.Name, inWords(r))
		for _, complaint := range r.Complaints {
			cfg.Say("    %s", complaint)
		}
	})
}

func inWords(r faults.Result) string {
	switch {
	case r.Skipped != "":
		return "skipped: " + r.Skipped
	case !r.OK():
		return "BROKEN"
	}
	text := fmt.Sprintf("kept, %d asked again, recovered in %.1f s, %.0f s in all", r.Duplicates, r.Recovery.Seconds(), r.Took.Seconds())
	if r.Calls > 0 {
		text += fmt.Sprintf("; %d calls while Apple was in trouble", r.Calls)
	}
	if r.Probes > 0 {
		text += fmt.Sprintf(", %d of them after the first moment", r.Probes)
	}
	return text
}

func (o options) print(w io.Writer, results []faults.Result) error {
	if o.asJSON {
		return json.NewEncoder(w).Encode(results)
	}
	return faults.WriteTable(w, results)
}
