package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"

	"revalidator/internal/dev/simulation"
)

const usage = `Usage: simulate [flags]

Lives the lives of made-up subscribers and has four policies look at the same
lives:
  (a) everything every night
  (b) auto-renewing, expiry from 60 days ago to 13 hours ahead, each night
  (c) ours (internal/iap, Policy.Plan) with a run each night
  (d) ours with a run each hour
It prints what each found, how late, and with how many calls to Apple; then the
same of many variants of ours, and what customers cost who hand in several
receipts, with the rule "covered" and without it; then which targets are met. A change counts where
somebody who looks each night can see it; "behind return" are those of the missed
ones that lie in a return of the customer that had not been seen yet. Staleness
is counted from when the change happened; of a renewal, from when the old period
expired.

Flags:
`

// options are the flags.
type options struct {
	config   simulation.Config
	frontier int
	check    bool
}

// errMissed is a target that is missed, with --check.
var errMissed = errors.New("a target is missed")

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.IntVar(&o.config.Subscriptions, "subscriptions", 200_000, "`number` of lives in each population")
	flags.IntVar(&o.config.Days, "days", 120, "for how many `days` changes and calls count")
	flags.Uint64Var(&o.config.Seed, "seed", 1, "the same `seed` gives the same lives")
	leads := flags.String("leads", string(simulation.LeadsMixed), "how long before expiry renewals show: mixed, early (any time of the\nlast day) or last-hour")
	flags.IntVar(&o.frontier, "frontier", 50_000, "`number` of lives that the variants of ours look at; 0 leaves them out")
	flags.BoolVar(&o.check, "check", false, "exit with 1 where a target is missed")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	o.config.Leads = simulation.Leads(*leads)
	switch {
	case flags.NArg() > 0:
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.config.Subscriptions < 1 || o.config.Days < 1 || o.config.Days > 3650 || o.frontier < 0:
		return options{}, errors.New("-subscriptions and -days must be at least 1, -days at most 3650, -frontier at least 0")
	}
	return o, o.config.Leads.Validate()
}

// run simulates each population, and prints.
func run(args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	missed := false
	for i, population := range simulation.Populations() {
		out := bufio.NewWriter(stdout)
		o.config.Population = population
		comparison := simulation.Compare(o.config)
		printCensus(out, o.config, comparison.Census)
		for _, r := range comparison.Results {
			printResult(out, r, comparison.Everything.Calls)
		}
		if o.frontier > 0 {
			c := o.config
			c.Subscriptions = o.frontier
			printFrontier(out, c.Subscriptions, simulation.Frontier(c))
			printFamilies(out, c.Subscriptions, simulation.Families(c, 1, 3, 12))
		}
		missed = printTargets(out, comparison.Targets(i > 0)) || missed
		if err := out.Flush(); err != nil {
			return err
		}
	}
	if o.check && missed {
		return errMissed
	}
	return nil
}
