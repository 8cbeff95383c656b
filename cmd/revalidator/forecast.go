package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
	"github.com/spf13/cobra"

	"revalidator/internal/forecast"
	"revalidator/internal/iap"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// forecastOptions is how far a forecast looks ahead.
type forecastOptions struct {
	weeks, days int
	hourly      bool
}

const (
	forecastWeeks = 4
	// hourlyDays is how far an hourly forecast looks unless told otherwise.
	hourlyDays = 2
	// longestForecast is where a projection has nothing to do with the future
	// any more, and mostSlots where nobody reads the table.
	longestForecast = 366
	mostSlots       = 1000
	// sampleSize is how many receipts are looked at one by one, about. It bounds
	// memory and time; the help of the command names it.
	sampleSize = 20_000
)

func (p *program) forecastCommand() *cobra.Command {
	options := forecastOptions{weeks: forecastWeeks}
	c := &cobra.Command{
		Use:   "forecast [--weeks N | --days N] [--hourly] [--json]",
		Short: "Show how much the coming nights have to do, and how long they take",
		Long: `Show how many receipts fall due for each night of the coming weeks, how long the
night runs at the configured rates, and where it is longer than its window and
what to do then. Overdue receipts, and those that a run has in hand now, count
into the first night. The starts come from REVALIDATOR_SCHEDULE, the window from
REVALIDATOR_RUN_WINDOW. With --hourly there is a run at each full hour instead,
which has an hour's time.

A receipt that was asked about falls due again: each night while a payment is
being retried, after its period while a subscription renews. The forecast plays
this through with the rules that workers plan by, under the assumption that
nothing new happens: what renews goes on renewing, in periods as long as the
last one (30 days after a trial), what does not expires, a failed payment stays
failed until Apple gives up after 60 days, and each look is one call with a
useful answer. New customers, outages and refunds are not in it. A receipt that
Apple has not answered about yet counts once.

Each app has its rate in each environment, and the slowest of them decides how
long a night lasts. Paused apps are left out, and named. Beyond 20,000 receipts
the next looks are counted, and what comes after them is projected from a sample
of about 20,000.`,
		Example: "  revalidator forecast\n  revalidator forecast --weeks 12\n  revalidator forecast --hourly --days 1\n  revalidator forecast --json | jq '.warnings[].rate_needed'",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := options.fill(c); err != nil {
				return terminal.Usage(err)
			}
			parts, err := p.open(c.Context(), needDatabase)
			if err != nil {
				return err
			}
			defer parts.close()
			r, err := parts.forecast(c.Context(), options, parts.appleTime())
			if err != nil {
				return err
			}
			return p.Print(r, r.text)
		},
	}
	c.Flags().IntVar(&options.weeks, "weeks", options.weeks, "look `n` weeks ahead; with --hourly 2 days unless given")
	c.Flags().IntVar(&options.days, "days", 0, "look `n` days ahead")
	c.Flags().BoolVar(&options.hourly, "hourly", false, "as though a run started at each full hour")
	p.AddJSON(c)
	return c
}

// fill makes days what was asked for.
func (o *forecastOptions) fill(c *cobra.Command) error {
	weeks, days := c.Flags().Changed("weeks"), c.Flags().Changed("days")
	switch {
	case weeks && days:
		return errors.New("--weeks and --days: give one of them")
	case !days && !weeks && o.hourly:
		o.days = hourlyDays
	case !days:
		o.days = 7 * o.weeks
	}
	if o.days < 1 || o.days > longestForecast {
		return fmt.Errorf("%d days ahead: want from 1 to %d", o.days, longestForecast)
	}
	return nil
}

// forecast reads what is planned and projects it from a time on.
func (s *parts) forecast(ctx context.Context, options forecastOptions, now time.Time) (*forecastReport, error) {
	slots, err := s.slots(options, now)
	if err != nil {
		return nil, err
	}
	starts := make([]time.Time, len(slots))
	for i, slot := range slots {
		starts[i] = slot.Start
	}
	apps, err := s.db.Apps(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := s.db.Planned(ctx, starts)
	if err != nil {
		return nil, err
	}
	r := newForecastReport(options, now, s.cfg.Schedule.TimeZone.Location, apps)
	working := r.withoutPaused(groups)
	oneIn := forecast.OneIn(working, sampleSize)
	var sample []forecast.Receipt
	if err := s.db.PlannedSample(ctx, starts[len(starts)-1], oneIn, func(p repository.PlannedReceipt) {
		sample = append(sample, projected(p))
	}); err != nil {
		return nil, err
	}
	plan, err := s.planOf(apps, options.hourly)
	if err != nil {
		return nil, err
	}
	cfg := forecast.Config{Slots: slots, Rates: r.rates, Plan: plan}
	receipts := forecast.Weigh(working, sample, slots)
	runs := forecast.Project(cfg, receipts)
	r.fill(receipts, runs, forecast.Shortages(cfg, receipts, runs))
	r.Sampled = sampled(oneIn, len(sample))
	return r, nil
}

// sampled is how many receipts stand for all, nil where each was looked at.
func sampled(oneIn map[string]int64, n int) *int {
	for _, part := range oneIn {
		if part > 1 {
			return &n
		}
	}
	return nil
}

// projected is a receipt as it is projected. Of one that Apple has not answered
// well yet, or is to confirm something final of, nothing is known.
func projected(p repository.PlannedReceipt) forecast.Receipt {
	r := forecast.Receipt{
		ID: p.ID, Budget: forecast.Budget{BundleID: p.BundleID, Environment: p.Environment},
		DueAt: p.NextCheckAt, Rule: p.Rule,
	}
	if p.State == iap.ReceiptValid && p.Rule != iap.RuleConfirm {
		r.Known = &p.Shows
	}
	return r
}

// slots are the starts of the runs from a time on, with the ends of their
// windows.
func (s *parts) slots(options forecastOptions, now time.Time) ([]forecast.Slot, error) {
	var schedule cron.Schedule = everyHour{}
	window := min(s.cfg.Schedule.RunWindow, time.Hour)
	if !options.hourly {
		var err error
		if schedule, err = s.schedule(); err != nil {
			return nil, err
		}
		window = s.cfg.Schedule.RunWindow
	}
	var slots []forecast.Slot
	now = now.In(s.cfg.Schedule.TimeZone.Location)
	end := now.AddDate(0, 0, options.days)
	for at := schedule.Next(now); !at.IsZero() && !at.After(end); at = schedule.Next(at) {
		if len(slots) == mostSlots {
			return nil, terminal.Usage(fmt.Errorf("more than %d runs in %d days: look fewer days ahead", mostSlots, options.days))
		}
		slots = append(slots, forecast.Slot{Start: at.UTC(), Until: at.Add(window).UTC()})
	}
	if len(slots) == 0 {
		return nil, terminal.Usage(fmt.Errorf("REVALIDATOR_SCHEDULE starts no run within %d days: look further ahead", options.days))
	}
	return slots, nil
}

// everyHour is a schedule of the full hours.
type everyHour struct{}

func (everyHour) Next(t time.Time) time.Time { return t.Truncate(time.Hour).Add(time.Hour) }
