package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"revalidator/internal/terminal"
)

// forecastDay is the present of forecasts here, a Tuesday at noon.
var forecastDay = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// planReceipts adds receipts of an app that each show one monthly subscription,
// with looks from forecastDay on, so many seconds apart.
func (s *session) planReceipts(t *testing.T, app, status, rule string, n, apart int) {
	t.Helper()
	from := "'" + forecastDay.Format(time.RFC3339) + "'::timestamptz"
	s.exec(t, fmt.Sprintf(`
		WITH added AS (
			INSERT INTO receipts (bundle_id, customer_ref, kind, environment, sha256, byte_size, state, next_check_at, next_check_rule, created_at)
			SELECT '%[1]s', '%[3]s-' || i, 'app_receipt', 'Production', sha256(('%[1]s%[3]s' || i)::bytea), 4000,
			       CASE '%[2]s' WHEN '' THEN 'new' ELSE 'valid' END, %[4]s + i * interval '%[5]d seconds', '%[3]s', %[4]s
			FROM generate_series(1, %[6]d) i
			RETURNING id, next_check_at
		), shown AS (
			INSERT INTO subscriptions (bundle_id, environment, original_transaction_id, status, product_id, transaction_id,
				purchase_date, expires_date, is_in_billing_retry_period, auto_renew_status, is_trial_period, is_upgraded, as_of, updated_at)
			SELECT '%[1]s', 'Production', id::text, '%[2]s', 'monthly', id::text,
			       CASE '%[2]s' WHEN 'active' THEN next_check_at ELSE %[4]s END - interval '30 days 10 minutes',
			       CASE '%[2]s' WHEN 'active' THEN next_check_at ELSE %[4]s END - interval '10 minutes',
			       '%[2]s' = 'billing_retry', true, false, false, %[4]s, %[4]s
			FROM added WHERE '%[2]s' <> ''
			RETURNING original_transaction_id
		)
		INSERT INTO receipt_subscriptions SELECT original_transaction_id::bigint, '%[1]s', 'Production', original_transaction_id FROM shown`,
		app, status, rule, from, apart, n))
}

// forecastAt is what the command prints at a time.
func (s *session) forecastAt(t *testing.T, now time.Time, options forecastOptions, asJSON bool) string {
	t.Helper()
	var stdout bytes.Buffer
	p := &program{Terminal: terminal.Terminal{Out: &stdout, Err: io.Discard, JSON: asJSON}, environ: s.env}
	parts, err := p.open(t.Context(), needDatabase)
	if err != nil {
		t.Fatal(err)
	}
	defer parts.close()
	r, err := parts.forecast(t.Context(), options, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := terminal.Show(&p.Terminal, r, forecastText); err != nil {
		t.Fatal(err)
	}
	return stdout.String()
}

// forecastShop has an app that is fast enough, one that is not, and a paused one.
func forecastShop(t *testing.T) *session {
	t.Helper()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp, "--rate", "10")
	s.must(t, "apps", "add", fitnessApp, "--rate", "0.015")
	s.must(t, "apps", "add", "com.example.paused")
	s.planReceipts(t, readerApp, "active", "renewal", 4000, 600)
	s.planReceipts(t, readerApp, "billing_retry", "billing_retry", 300, 60)
	s.planReceipts(t, readerApp, "", "new", 200, 0)
	s.planReceipts(t, fitnessApp, "active", "renewal", 2000, 400)
	s.planReceipts(t, fitnessApp, "billing_retry", "billing_retry", 300, 60)
	s.planReceipts(t, "com.example.paused", "active", "renewal", 50, 600)
	s.must(t, "apps", "pause", "com.example.paused", "--reason", "moving to another team")
	return s
}

func TestForecast(t *testing.T) {
	t.Parallel()
	s := forecastShop(t)
	var text strings.Builder
	show := func(title string, options forecastOptions) {
		shown := s.forecastAt(t, forecastDay, options, false)
		checkWidth(t, shown)
		fmt.Fprintf(&text, "== %s\n%s\n", title, shown)
	}
	show("two weeks", forecastOptions{days: 14})
	show("a day by the hour", forecastOptions{days: 1, hourly: true})
	s.set("REVALIDATOR_TIME_ZONE", "Europe/Berlin")
	s.set("REVALIDATOR_SCHEDULE", "0 2 * * 1")
	s.set("REVALIDATOR_RUN_WINDOW", "24h")
	s.exec(t, `UPDATE apps SET rate_per_second = 10`)
	show("Mondays in Berlin, all fast enough", forecastOptions{days: 28})
	s.set("REVALIDATOR_SCHEDULE", "")
	s.set("REVALIDATOR_RUN_WINDOW", "1h")
	s.exec(t, `UPDATE apps SET rate_per_second = 0.015 WHERE bundle_id = '`+fitnessApp+`'`)
	fmt.Fprintf(&text, "== two nights as JSON\n%s", s.forecastAt(t, forecastDay, forecastOptions{days: 2}, true))
	goldenExactly(t, "forecast.txt", text.String())
}

// TestForecastCommand runs the command line itself, on an empty database.
func TestForecastCommand(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	if o := s.must(t, "forecast"); o.stdout != "No receipt of an enabled app becomes due within 28 days.\n" || o.stderr != "" {
		t.Errorf("got %q and %q", o.stdout, o.stderr)
	}
	if o := s.must(t, "forecast", "--hourly", "--json"); strings.Count(o.stdout, `"start"`) != 48 {
		t.Errorf("want 48 hours:\n%s", o.stdout)
	}
}

func TestForecastUsage(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	tests := []struct {
		name, schedule, want string
		args                 []string
	}{
		{"both", "", "give one of them", []string{"--weeks", "1", "--days", "1"}},
		{"none", "", "0 days ahead: want from 1 to 366", []string{"--days", "0"}},
		{"backwards", "", "-7 days ahead: want from 1 to 366", []string{"--weeks", "-1"}},
		{"too far", "", "371 days ahead: want from 1 to 366", []string{"--weeks", "53"}},
		{"no number", "", `--days "soon": want a whole number`, []string{"--days", "soon"}},
		{"argument", "", `unexpected argument "tomorrow"`, []string{"tomorrow"}},
		{"no run", "0 2 29 2 *", "starts no run within 28 days: forecast more days", nil},
		{"too many runs", "* * * * *", "more than 1000 runs in 28 days: forecast fewer days", nil},
	}
	for _, test := range tests {
		s.set("REVALIDATOR_SCHEDULE", test.schedule)
		o := s.run(t, append([]string{"forecast"}, test.args...)...)
		if o.code != terminal.ExitUsage || o.stdout != "" || !strings.Contains(o.stderr, test.want) {
			t.Errorf("%s: got exit code %d, %q and %q; want %d and %q", test.name, o.code, o.stdout, o.stderr, terminal.ExitUsage, test.want)
		}
	}
}
