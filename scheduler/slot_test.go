package scheduler

import (
	"log/slog"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The Postgres of the tests ends with the program.
		goleak.IgnoreAnyFunction("revalidator/internal/dev/devstack.(*process).run"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"))
}

func schedule(t *testing.T, spec string) cron.Schedule {
	t.Helper()
	s, err := cron.ParseStandard(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newScheduler(t *testing.T, cfg Config) *Scheduler {
	t.Helper()
	if cfg.Owner == "" {
		cfg.Owner = "test"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLastSlot(t *testing.T) {
	t.Parallel()
	const (
		nightly = "0 2 * * *"
		berlin  = "Europe/Berlin"
	)
	for name, test := range map[string]struct {
		spec, zone string
		catchUp    time.Duration
		now        string
		want       string // empty: none
	}{
		"exactly at the slot":              {nightly, "UTC", 12 * time.Hour, "2026-03-01T02:00:00Z", "2026-03-01T02:00:00Z"},
		"a second before":                  {nightly, "UTC", 12 * time.Hour, "2026-03-01T01:59:59Z", ""},
		"a fraction of a second after":     {nightly, "UTC", 12 * time.Hour, "2026-03-01T02:00:00.5Z", "2026-03-01T02:00:00Z"},
		"missed and caught up":             {nightly, "UTC", 12 * time.Hour, "2026-03-01T13:59:59Z", "2026-03-01T02:00:00Z"},
		"missed for too long":              {nightly, "UTC", 12 * time.Hour, "2026-03-01T14:00:00Z", ""},
		"only the newest of several":       {nightly, "UTC", 72 * time.Hour, "2026-03-03T12:00:00Z", "2026-03-03T02:00:00Z"},
		"no catching up still sees a slot": {nightly, "UTC", 0, "2026-03-01T02:00:30Z", "2026-03-01T02:00:00Z"},
		"no catching up is no catching up": {nightly, "UTC", 0, "2026-03-01T02:01:00Z", ""},
		"every minute":                     {"* * * * *", "UTC", 12 * time.Hour, "2026-03-01T02:03:04Z", "2026-03-01T02:03:00Z"},
		"no schedule":                      {"", "UTC", 12 * time.Hour, "2026-03-01T02:00:00Z", ""},
		"the last of a month":              {"0 2 31 * *", "UTC", 12 * time.Hour, "2026-01-31T03:00:00Z", "2026-01-31T02:00:00Z"},
		"a month without a 31st":           {"0 2 31 * *", "UTC", 12 * time.Hour, "2026-03-01T03:00:00Z", ""},
		"a leap day":                       {"0 2 29 2 *", "UTC", 12 * time.Hour, "2028-02-29T03:00:00Z", "2028-02-29T02:00:00Z"},
		"over the end of a year":           {"30 23 * * *", "UTC", 12 * time.Hour, "2027-01-01T00:10:00Z", "2026-12-31T23:30:00Z"},

		"in another zone, winter":   {nightly, berlin, 12 * time.Hour, "2026-01-15T01:00:00Z", "2026-01-15T01:00:00Z"},
		"in another zone, summer":   {nightly, berlin, 12 * time.Hour, "2026-07-15T00:00:00Z", "2026-07-15T00:00:00Z"},
		"in a zone a day ahead":     {nightly, "Pacific/Auckland", time.Hour, "2026-01-14T13:30:00Z", "2026-01-14T13:00:00Z"},
		"now in a zone of its own":  {nightly, "UTC", 12 * time.Hour, "2026-03-01T04:30:00+02:00", "2026-03-01T02:00:00Z"},
		"half past, of a half zone": {"30 2 * * *", "Asia/Kolkata", time.Hour, "2026-03-01T21:30:00Z", "2026-03-01T21:00:00Z"},

		// On 29 March 2026 the clocks of Berlin go from 2 to 3 at 01:00 UTC.
		"spring, before the gap":               {"30 1 * * *", berlin, 12 * time.Hour, "2026-03-29T01:00:00Z", "2026-03-29T00:30:00Z"},
		"spring, a slot in the gap is no slot": {"30 2 * * *", berlin, 12 * time.Hour, "2026-03-29T10:00:00Z", ""},
		"spring, after the gap":                {"0 3 * * *", berlin, 12 * time.Hour, "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z"},
		"spring, the next night":               {"30 2 * * *", berlin, 12 * time.Hour, "2026-03-30T00:30:00Z", "2026-03-30T00:30:00Z"},
		// On 25 October 2026 they go from 3 to 2 at 01:00 UTC.
		"autumn, before the repeat":    {"30 1 * * *", berlin, time.Hour, "2026-10-24T23:30:00Z", "2026-10-24T23:30:00Z"},
		"autumn, the first of two":     {"30 2 * * *", berlin, time.Hour, "2026-10-25T00:45:00Z", "2026-10-25T00:30:00Z"},
		"autumn, the second is a slot": {"30 2 * * *", berlin, time.Hour, "2026-10-25T01:45:00Z", "2026-10-25T01:30:00Z"},
		"autumn, after the repeat":     {"0 3 * * *", berlin, 12 * time.Hour, "2026-10-25T02:00:00Z", "2026-10-25T02:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			zone, err := time.LoadLocation(test.zone)
			if err != nil {
				t.Fatal(err)
			}
			now, err := time.Parse(time.RFC3339, test.now)
			if err != nil {
				t.Fatal(err)
			}
			cfg := Config{Store: &fakeStore{}, Queue: &fakeQueue{}, Zone: zone, CatchUp: test.catchUp}
			if test.spec != "" {
				cfg.Schedule = schedule(t, test.spec)
			}
			slot, due := newScheduler(t, cfg).lastSlot(now)
			got := ""
			if due {
				got = slot.Format(time.RFC3339)
			}
			if got != test.want {
				t.Errorf("slot at %s: got %q, want %q", test.now, got, test.want)
			}
		})
	}
}

func TestNewChecksItsConfig(t *testing.T) {
	t.Parallel()
	whole := func() Config { return Config{Store: &fakeStore{}, Queue: &fakeQueue{}, Owner: "test"} }
	for name, spoil := range map[string]func(*Config){
		"store": func(c *Config) { c.Store = nil },
		"queue": func(c *Config) { c.Queue = nil },
		"owner": func(c *Config) { c.Owner = "" },
		"lease": func(c *Config) { c.Feed.OwnerLease, c.Feed.Tick = 2*time.Second, time.Second },
	} {
		cfg := whole()
		spoil(&cfg)
		if s, err := New(cfg); err == nil || s != nil {
			t.Errorf("%s: got %v and %v, want an error", name, s, err)
		}
	}
	s, err := New(whole())
	if err != nil {
		t.Fatal(err)
	}
	want := FeedConfig{
		Tick: 200 * time.Millisecond, Look: time.Second, Tidy: time.Second, Ahead: time.Minute, Depth: 5000,
		ClaimLease: 15 * time.Minute, OwnerLease: 30 * time.Second, LargeBytes: 256 << 10,
	}
	if s.cfg.Feed != want || s.cfg.Window != 8*time.Hour || s.cfg.Zone != time.UTC {
		t.Errorf("defaults: %+v", s.cfg)
	}
}
