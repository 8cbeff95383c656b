package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"revalidator/internal/dev/applesim"
)

// options are the flags.
type options struct {
	config        applesim.Config
	addr          string
	writeReceipts string
	printSecrets  bool
	latency       time.Duration
}

const usage = `Usage: applesim [flags]

Runs a simulated App Store and prints its address. It serves
  POST /production/verifyReceipt, POST /sandbox/verifyReceipt
  GET  /control/receipts   every customer's receipt, one JSON object a line: input for an import
  GET  /control/truth      what is the case for every customer now (?customer_ref=)
  GET  /control/log        the requests so far (?after=SEQ)
  GET  /control/traffic    requests and violations of the rate limit, per app
  GET  /control/root       the root certificate of the receipts, in PEM
  GET, POST /control/clock    {"now", "speed"} or {"advance": "24h"}
  POST /control/faults     [{"fault": "http", "status": 503, "rate": 0.1}]
  POST /control/secrets    {"bundle_id", "secrets": []}
  POST /control/replay     {"receipt_sha256", "http_status", "body"}
  GET  /healthz

Flags:
`

// parse reads the flags; flag.ErrHelp after -h.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var apps, start, faults, latest string
	flags := flag.NewFlagSet("applesim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.addr, "addr", "127.0.0.1:0", "`address` to listen on; port 0 picks a free one")
	flags.Uint64Var(&o.config.Seed, "seed", 1, "the same seed and start give the same customers and receipts")
	flags.IntVar(&o.config.Customers, "customers", 1000, "number of customers")
	flags.IntVar(&o.config.PadRecords, "pad-records", 0, "unfinished consumables in large receipts; 5500 make 2.2 MB")
	large := flags.Float64("large", 0, "`share` of customers with large receipts, from 0 to 1")
	flags.IntVar(&o.config.Receipts, "receipts", 3, "receipts that each customer of -several has, taken at different times")
	several := flags.Float64("several", 0, "`share` of customers with more than one receipt, from 0 to 1; as many have one in the style of iOS 6 besides")
	flags.IntVar(&o.config.Crowd, "crowd", applesim.MaxCrowd, "subscriptions that each customer of -crowded bought an hour after the start")
	crowded := flags.Float64("crowded", 0, "`share` of customers with a crowd of subscriptions in small receipts, from 0 to 1")
	flags.StringVar(&apps, "apps", "com.example.reader,com.example.fitness",
		"bundle `ids`, separated by commas; the first, third … have a billing grace period")
	flags.StringVar(&start, "start", "now", "simulated `time` to start at, as in 2026-03-01T00:00:00Z, or now")
	flags.Float64Var(&o.config.Speed, "speed", 1, "simulated seconds per real second; 0 stands still")
	flags.DurationVar(&o.latency, "latency", 0, "time that each answer takes, plus up to a quarter")
	flags.StringVar(&faults, "faults", "", "faults as `name=rate`, separated by commas: 503=0.02,21005=0.02,timeout=0.01,\n"+
		"429-seconds, 429-epoch-ms, reset, empty, html, cut, control, content-type, wrong-app,\nstale, endless, bomb, drip, length, headers,\n"+
		"no-renewal, older, bare, lag, clock, undated, undated-null, first-dates, long-ids,\n"+
		"status-21006 with the right facts, proxy: a 413 above 8 KB")
	flags.IntVar(&o.config.RateLimit, "rate-limit", 0, "requests a second, per app and environment, above which it answers 429; 0 is none")
	flags.IntVar(&o.config.LogSize, "log-size", 0, "`requests` to remember; 0 is 10,000, negative none")
	flags.StringVar(&latest, "latest-receipt", string(applesim.LatestSigned), "latest_receipt in replies: signed anew, or echo of the sent one, which is faster")
	flags.StringVar(&o.writeReceipts, "write-receipts", "", "write all receipts to the `file` first, one JSON object a line")
	flags.BoolVar(&o.printSecrets, "print-secrets", false, "print the bundle ids with their shared secrets")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	mix := applesim.DefaultMix()
	mix.Large, mix.Crowded, mix.Several, mix.OldStyle = *large, *crowded, *several, *several
	o.config.Mix = &mix
	o.config.LatestReceipt = applesim.LatestReceipt(latest)
	return o, o.complete(apps, start, faults)
}

// complete reads the flags that are texts of their own.
func (o *options) complete(apps, start, faults string) (err error) {
	for i, id := range strings.Split(apps, ",") {
		o.config.Apps = append(o.config.Apps, applesim.NewApp(o.config.Seed, strings.TrimSpace(id), i%2 == 0))
	}
	if start != "now" {
		if o.config.Start, err = time.Parse(time.RFC3339, start); err != nil {
			return fmt.Errorf("start: %w", err)
		}
	}
	if o.config.Faults, err = applesim.ParseFaults(faults); err != nil {
		return err
	}
	if o.latency > 0 {
		o.config.Faults = append(o.config.Faults, applesim.Rule{
			Fault: applesim.FaultLatency, Rate: 1,
			Latency: applesim.Duration(o.latency), Jitter: applesim.Duration(o.latency / 4),
		})
	}
	return nil
}
