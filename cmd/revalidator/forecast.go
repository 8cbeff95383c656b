package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/report"
	"revalidator/internal/terminal"
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
	// any more,
	longestForecast = 366
)

func (p *program) forecastCommand() *cobra.Command {
	options := forecastOptions{weeks: forecastWeeks}
	c := &cobra.Command{
		Use:   "forecast [--weeks N | --days N] [--hourly] [--json]",
		Short: "Show how much the coming nights have to do, and how long they take",
		Long: `Show how many receipts fall due for each night of the coming weeks, how long the
night runs at the configured rates, and where it is longer than its window and
what to do then. Overdue receipts, and those that a run has claimed, count
into the first night. The starts come from REVALIDATOR_SCHEDULE, the window from
REVALIDATOR_RUN_WINDOW. With --hourly there is a run at each full hour instead,
which has an hour's time.

A receipt that was checked falls due again: each night while a payment is
being retried, after its period while a subscription renews. The forecast plays
this through with the rules that workers plan by, under the assumption that
nothing new happens: what renews goes on renewing, in periods as long as the
last one (30 days after a trial), what does not expires, a failed payment stays
failed until Apple gives up after 60 days, and each check is one call with a
usable reply. New customers, outages and refunds are not in it. A receipt that
Apple has not answered about yet counts once.

Each app has its rate in each environment, and the slowest of them decides how
long a night lasts. Paused apps are left out, and named. Beyond 20,000 receipts
the next checks are counted, and what comes after them is projected from a
sample of about 20,000.`,
		Example: "  revalidator forecast\n  revalidator forecast --weeks 12\n  revalidator forecast --hourly --days 1\n  revalidator forecast --json | jq '.warnings[].rate_needed'",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := options.fill(c); err != nil {
				return terminal.Usage(err)
			}
			return p.with(c.Context(), func(parts *parts) error {
				r, err := parts.forecast(c.Context(), options, parts.clock.AppleTime())
				if err != nil {
					return err
				}
				return terminal.Show(&p.Terminal, r, forecastText)
			}, needDatabase)
		},
	}
	c.Flags().IntVar(&options.weeks, "weeks", options.weeks, "forecast `n` weeks; with --hourly 2 days unless given")
	c.Flags().IntVar(&options.days, "days", 0, "forecast `n` days")
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
func (s *parts) forecast(ctx context.Context, options forecastOptions, now time.Time) (*report.Forecast, error) {
	schedule, err := s.schedule()
	if err != nil {
		return nil, err
	}
	policy, err := s.policy()
	if err != nil {
		return nil, err
	}
	if options.hourly {
		schedule, policy.RunEvery = schedule.Hourly(), time.Hour
	}
	slots, err := schedule.Slots(now, options.days)
	if err != nil {
		return nil, terminal.Usage(err)
	}
	return report.ReadForecast(ctx, s.db, report.ForecastConfig{
		Slots: slots, Zone: schedule.Zone, Days: options.days, Hourly: options.hourly, Policy: policy,
	}, now)
}
