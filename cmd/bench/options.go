package main

import (
	"fmt"
	"os"
	"strconv"
)

// options are what the variables say that make hands over.
type options struct {
	parts []part
	// quick makes everything smaller, for a look at whether it works.
	quick   bool
	dueRows int
	runs    int
	check   bool       // a missed target is an error
	out     string     // file for the results, empty for none
	before  []measured // of BASE, nil without it
}

func newOptions(getenv func(string) string) (o options, err error) {
	o = options{quick: getenv("QUICK") != "", dueRows: 10_000_000, runs: 1, check: getenv("CHECK") == "1", out: getenv("OUT")}
	if o.parts, err = choose(getenv("ONLY")); err != nil {
		return o, err
	}
	if o.quick {
		o.dueRows = 1_000_000
	}
	if text := getenv("ROWS"); text != "" {
		if o.dueRows, err = strconv.Atoi(text); err != nil || o.dueRows < 100_000 {
			return o, fmt.Errorf("ROWS=%s: want a number from 100000 on", text)
		}
	}
	if text := getenv("RUNS"); text != "" {
		if o.runs, err = strconv.Atoi(text); err != nil || o.runs < 1 {
			return o, fmt.Errorf("RUNS=%s: want how many runs to take the median of, from 1 on", text)
		}
	}
	if name := getenv("BASE"); name != "" {
		if o.before, err = readResults(name); err != nil {
			return o, fmt.Errorf("BASE: %w", err)
		}
	}
	if o.out != "" { // found out before an hour of measuring
		err = os.WriteFile(o.out, nil, 0o644)
	}
	return o, err
}
