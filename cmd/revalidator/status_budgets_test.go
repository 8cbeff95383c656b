package main

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"revalidator/internal/ratelimit"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// TestStatusOfDistress has Apple in trouble for one app, and show signs of it for
// another.
func TestStatusOfDistress(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 4)
	limiter, err := ratelimit.New(ratelimit.Config{Redis: s.redis(t)})
	if err != nil {
		t.Fatal(err)
	}
	tell := func(times int, budget string, heard ratelimit.Signal) {
		for range times {
			if _, err := limiter.Report(t.Context(), budget, ratelimit.Slot{}, heard, "server_error"); err != nil {
				t.Fatal(err)
			}
		}
	}
	tell(1, fitnessApp+"/verify_receipt:Sandbox", ratelimit.Limited)
	tell(20, readerApp+"/verify_receipt:Production", ratelimit.Distress)
	s.transcript.Reset()
	s.must(t, "status")
	s.must(t, "status", "--json")
	s.run(t, "doctor", "--offline")
	s.exec(t, `UPDATE receipts SET environment = 'Sandbox' WHERE bundle_id = '`+fitnessApp+`'`)
	for _, app := range []string{fitnessApp, readerApp} {
		found, err := s.db(t).StoredReceipts(t.Context(), repository.ReceiptQuery{BundleID: app, Limit: 1})
		if err != nil || len(found) == 0 {
			t.Fatalf("receipts of %s: %v, %v", app, found, err)
		}
		s.must(t, "explain", strconv.FormatInt(found[0].ID, 10))
	}
	var shown strings.Builder
	pattern := regexp.MustCompile(`(?m)^ *(Apple  .*|warning  apple distress.*)\n( .*\n)*|  In the way.*\n( .*\n)*|  "budgets": \[\n(    .*\n)*  \]`)
	for _, text := range pattern.FindAllString(s.transcript.String(), -1) {
		shown.WriteString(text + "\n")
	}
	checkWidth(t, shown.String())
	share := regexp.MustCompile(`("rate_share": 0\.5)\d+`)
	golden(t, "distress.txt", share.ReplaceAllString(shown.String(), "$1"))
}

func TestBudgetText(t *testing.T) {
	t.Parallel()
	since, now := appStart, appStart.Add(time.Hour)
	b := report.Budget{BundleID: readerApp, Environment: "Production", HeldBackSince: &since, HeldBackFor: "timeout", ProbedAt: &now}
	if got := budgetText(new(terminal.Page), b, now); !strings.HasSuffix(got, "(1 hour ago), for timeout; being probed") {
		t.Errorf("got %q, want that it is being probed", got)
	}
}
