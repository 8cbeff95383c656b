package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/iap"
	"revalidator/internal/ledger"
	"revalidator/internal/phrase"
	"revalidator/internal/terminal"
	"revalidator/repository"
	"revalidator/worker"
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

// TestObstacles is the table of what stands in the way of a receipt.
func TestObstacles(t *testing.T) {
	t.Parallel()
	now := appStart
	before, after := now.Add(-time.Hour), now.Add(time.Hour)
	accused := "account_gone"
	noSecret, byPerson, person, run := ledger.PausedNoSecret, ledger.PausedByPerson, "a person said so", int64(7)
	tests := []struct {
		name    string
		receipt repository.StoredReceipt
		want    []string // what each obstacle must speak of
	}{
		{"none", repository.StoredReceipt{State: iap.ReceiptValid}, nil},
		{"quarantining stopped", repository.StoredReceipt{State: iap.ReceiptValid, LastError: &accused, AppQuarantineStoppedAt: &before}, []string{"not quarantined: "}},
		{"quarantining stopped, and it is well", repository.StoredReceipt{State: iap.ReceiptValid, AppQuarantineStoppedAt: &before}, nil},
		{"quarantined before that", repository.StoredReceipt{State: iap.ReceiptAccountGone, LastError: &accused, AppQuarantineStoppedAt: &before}, []string{"Apple does not find"}},
		{"no secret", repository.StoredReceipt{AppPausedAt: &before, AppPausedCode: &noSecret}, []string{"secrets add --app"}},
		{"paused by a person", repository.StoredReceipt{AppPausedAt: &before, AppPausedCode: &byPerson, AppPausedText: &person}, []string{person}},
		{"with a worker", repository.StoredReceipt{ClaimedUntil: &after, RunID: &run}, []string{"run 7 is asking about it now"}},
		{"left by a worker", repository.StoredReceipt{ClaimedUntil: &before}, []string{"abandoned: a worker had it"}},
		{"wrong app", repository.StoredReceipt{State: iap.ReceiptWrongApp}, []string{"import it for that one"}},
		{"too large", repository.StoredReceipt{State: iap.ReceiptTooLarge}, []string{"larger than verifyReceipt takes"}},
		{"Xcode", repository.StoredReceipt{State: iap.ReceiptXcode}, []string{"never asked about"}},
		{"quarantined", repository.StoredReceipt{State: iap.ReceiptQuarantined}, []string{"receipts release"}},
		{"malformed, paused", repository.StoredReceipt{State: iap.ReceiptMalformed, AppPausedAt: &before, AppPausedCode: &byPerson, AppPausedText: &person},
			[]string{person, "send a fresh one"}},
	}
	for _, test := range tests {
		got := obstacles(test.receipt, now)
		if len(got) != len(test.want) {
			t.Errorf("%s: got %q, want %d", test.name, got, len(test.want))
			continue
		}
		for i, want := range test.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("%s: got %q, want something about %q", test.name, got[i], want)
			}
		}
	}
}

func TestExplainNamesTheCoveringReceipt(t *testing.T) {
	t.Parallel()
	other := int64(7)
	for want, r := range map[string]repository.StoredReceipt{
		"receipt 7 shows everything that this one shows": {CoveredBy: &other, NextCheckRule: iap.RuleCovered},
		ruleText(iap.RuleRenewal):                        {NextCheckRule: iap.RuleRenewal},
	} {
		if got := nextCheckText(r); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestHeldAgainst has a row for each kind of receipt and failure.
func TestHeldAgainst(t *testing.T) {
	t.Parallel()
	accepted, malformed, timeout := appStart, "receipt_malformed", "timeout"
	for name, test := range map[string]struct {
		receipt repository.StoredReceipt
		want    string
	}{
		"a success":     {repository.StoredReceipt{}, ""},
		"trouble":       {repository.StoredReceipt{LastError: &timeout, FailuresAlike: 3, AlikeDays: 1}, ""},
		"in quarantine": {repository.StoredReceipt{LastError: &malformed, State: iap.ReceiptMalformed}, ""},
		"never accepted": {repository.StoredReceipt{LastError: &malformed, FailuresAlike: 1, AlikeDays: 1},
			"So far: the first time, of a receipt that Apple never accepted. Quarantined: 10 times in a row, on 2 days."},
		"accepted": {repository.StoredReceipt{LastError: &malformed, FailuresAlike: 7, AlikeDays: 2, AcceptedAt: &accepted},
			"So far: 7 times in a row, on 2 days, of a receipt that Apple accepted, last on " + phrase.Time(accepted) + ". Quarantined: 30 times in a row, on 3 days."},
	} {
		if got := heldAgainst(test.receipt); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// TestWordsForAll holds every rule and every class of failures to words of
// their own, those included that are added later.
func TestWordsForAll(t *testing.T) {
	t.Parallel()
	for _, rule := range named(t, "../../internal/iap/rule.go", `Rule\w+ +Rule = "(\w+)"`, 20) {
		if text := ruleText(iap.Rule(rule)); strings.Contains(text, "does not know: ") {
			t.Errorf("rule %s: got %q", rule, text)
		}
	}
	for _, class := range worker.FailureClasses() {
		if text := failureText(class); text == phrase.Words(class)+"." {
			t.Errorf("class %s: got %q", class, text)
		}
	}
}

// named lists what a source file names, by a pattern with one group.
func named(t *testing.T, file, pattern string, least int) []string {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, match := range regexp.MustCompile(pattern).FindAllSubmatch(source, -1) {
		names = append(names, string(match[1]))
	}
	if len(names) < least {
		t.Fatalf("%s names %d, want %d or more", file, len(names), least)
	}
	return names
}
