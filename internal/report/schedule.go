package report

import (
	"fmt"
	"time"

	"revalidator/internal/forecast"

	"github.com/robfig/cron/v3"
)

// Schedule is when nightly runs start, and how long one may take.
type Schedule struct {
	cron.Schedule
	Zone   *time.Location
	Window time.Duration
}

// NextRun is when the next nightly run starts.
func (s Schedule) NextRun(now time.Time) time.Time { return s.Next(now.In(s.Zone)).UTC() }

// Every is how far apart the next runs are on average, and 0 where there are none.
func (s Schedule) Every(from time.Time) time.Duration {
	const slots = 100
	first := s.Next(from.In(s.Zone))
	last := first
	for range slots {
		last = s.Next(last)
	}
	if !last.After(first) {
		return 0
	}
	return last.Sub(first) / slots
}

// lastSlot is the newest slot of a schedule that is not later than t, or the
// zero time where there was none within years. Schedules only tell the next
// slot, so it goes back further and further, and then forward.
func lastSlot(schedule cron.Schedule, t time.Time) time.Time {
	const day = 24 * time.Hour
	for back := day; back < 3000*day; back *= 2 {
		slot := schedule.Next(t.Add(-back))
		if slot.IsZero() || slot.After(t) {
			continue
		}
		for next := slot; !next.After(t); next = schedule.Next(slot) {
			slot = next
		}
		return slot
	}
	return time.Time{}
}

// everyHour is a schedule of the full hours.
type everyHour struct{}

func (everyHour) Next(t time.Time) time.Time { return t.Truncate(time.Hour).Add(time.Hour) }

// Hourly is as though a run started at each full hour, which has an hour's time.
func (s Schedule) Hourly() Schedule {
	return Schedule{everyHour{}, s.Zone, min(s.Window, time.Hour)}
}

// mostSlots is where nobody reads the table of a forecast any more.
const mostSlots = 1000

// Slots are the starts of the runs of some days from a time on, with the ends of
// their windows. That there are none, or too many, is its error.
func (s Schedule) Slots(now time.Time, days int) ([]forecast.Slot, error) {
	var slots []forecast.Slot
	now = now.In(s.Zone)
	end := now.AddDate(0, 0, days)
	for at := s.Next(now); !at.IsZero() && !at.After(end); at = s.Next(at) {
		if len(slots) == mostSlots {
			return nil, fmt.Errorf("more than %d runs in %d days: forecast fewer days", mostSlots, days)
		}
		slots = append(slots, forecast.Slot{Start: at.UTC(), Until: at.Add(s.Window).UTC()})
	}
	if len(slots) == 0 {
		return nil, fmt.Errorf("REVALIDATOR_SCHEDULE starts no run within %d days: forecast more days", days)
	}
	return slots, nil
}
