package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/iap"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// openStories makes the apps of the stories with their secrets and receipts.
func (s *session) openStories(t *testing.T) *applesim.Server {
	t.Helper()
	sim := s.storyStore(t, stories()...)
	s.set("REVALIDATOR_RETRY_BASE", "1s")
	for _, app := range []string{readerApp, fitnessApp} {
		s.must(t, "apps", "add", app, "--rate", "500", "--burst", "10")
		s.must(t, "secrets", "add", "--app", app, "--file", writeFile(t, "secret", sim.Secrets(app)[0]))
	}
	s.must(t, "import", receiptsFile(t, sim))
	return sim
}

// idOf is the id of the receipt of the customer of a story.
func (s *session) idOf(t *testing.T, customer int) string {
	t.Helper()
	ref := fmt.Sprintf("customer-%07d", customer)
	found, err := s.db(t).StoredReceipts(t.Context(), repository.ReceiptQuery{CustomerRef: &ref, Limit: 1})
	if err != nil || len(found) != 1 {
		t.Fatalf("customer %d: got %d receipts and %v", customer, len(found), err)
	}
	return fmt.Sprint(found[0].ID)
}

// receiptID is the number of a receipt, which depends on its hash.
var receiptID = regexp.MustCompile(`Receipt \d+ of`)

// TestExplain asks before and after a run, of things by each of their ids.
func TestExplain(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openStories(t)
	s.importedLongAgo(t)
	s.transcript.Reset()
	s.must(t, "explain", "customer-0000003")
	s.must(t, "run", "--worker", "--quiet")
	s.transcript.Reset()
	s.must(t, "explain", "customer-0000003") // in the grace period
	s.must(t, "explain", "400000000400001")  // a subscription that was refunded
	s.must(t, "explain", "400000002150001")  // a purchase that was refunded
	s.must(t, "explain", "customer-0000011") // nothing was ever bought
	s.must(t, "explain", "400000000600001", "--json", "--as", "transaction")
	if o := s.run(t, "explain", "nobody"); o.code != terminal.ExitFailure {
		t.Errorf("nobody: got exit code %d, want %d", o.code, terminal.ExitFailure)
	}
	text := receiptID.ReplaceAllString(s.transcript.String(), "Receipt <id> of")
	text = regexp.MustCompile(`"((receipt_)?id|byte_size)": \d+`).ReplaceAllString(text, `"$1": <number>`)
	text = regexp.MustCompile(`"sha256": "[0-9a-f]{64}"`).ReplaceAllString(text, `"sha256": "<hash>"`)
	checkWidth(t, regexp.MustCompile(`(?m)^ *".*$`).ReplaceAllString(results(text), ""))
	golden(t, "explain.txt", text)
}

// TestExplainAmbiguous has a customer who goes by the id of a receipt.
func TestExplainAmbiguous(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openStories(t)
	r, err := sim.Receipt(0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.db(t).AddReceipts(t.Context(), []iap.Receipt{{
		BundleID: fitnessApp, CustomerRef: "1", Kind: iap.KindAppReceipt, Data: r.Data,
	}}, appStart)
	if err != nil {
		t.Fatal(err)
	}
	o := s.run(t, "explain", "1")
	if o.code != terminal.ExitUsage || !strings.Contains(o.stderr, "--as customer --app "+fitnessApp) || !strings.Contains(o.stderr, "--as receipt") {
		t.Errorf("got exit code %d and %q, want %d and both candidates", o.code, o.stderr, terminal.ExitUsage)
	}
	if o := s.must(t, "explain", "1", "--as", "customer"); !strings.Contains(o.stdout, fitnessApp) {
		t.Errorf("the customer: got\n%s", o.stdout)
	}
	if o := s.run(t, "explain", "1", "--as", "person"); o.code != terminal.ExitUsage {
		t.Errorf("--as person: got exit code %d, want %d", o.code, terminal.ExitUsage)
	}
}

// TestExplainByAnyID asks for one subscription by each of its ids, and lists what an id
// is the id of where that is several things.
func TestExplainByAnyID(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openStories(t)
	s.importedLongAgo(t)
	s.must(t, "run", "--worker", "--quiet")
	const original = "400000000400001"
	s.exec(t, `UPDATE subscriptions SET transaction_id = '12', web_order_line_item_id = '900' WHERE original_transaction_id = '`+original+`'`)
	s.exec(t, `UPDATE subscription_events SET transaction_id = '11' WHERE type = 'started' AND original_transaction_id = '`+original+`'`)
	want := normalized(s.must(t, "explain", original).stdout)
	for _, args := range [][]string{{"11"}, {"12"}, {"900"}, {"900", "--as", "web_order"}} {
		args = append([]string{"explain", "--app", readerApp}, args...)
		if args[3] == "11" || args[3] == "12" {
			args = append(args, "--as", "transaction") // they are ids of receipts as well
		}
		if got := normalized(s.must(t, args...).stdout); got != want {
			t.Errorf("%q: got\n%s\nwant\n%s", args, got, want)
		}
	}
	o := s.run(t, "explain", "12")
	if o.code != terminal.ExitUsage || !strings.Contains(o.stderr, "--as receipt --app ") ||
		!strings.Contains(o.stderr, "--as transaction --app "+readerApp+", of "+original) {
		t.Errorf("got exit code %d and %q, want %d and both things", o.code, o.stderr, terminal.ExitUsage)
	}
	if o := s.run(t, "explain", "12", "--app", "nope"); o.code != terminal.ExitUsage || !strings.Contains(o.stderr, `unknown app "nope"`) {
		t.Errorf("--app nope: got exit code %d and %q", o.code, o.stderr)
	}
}
