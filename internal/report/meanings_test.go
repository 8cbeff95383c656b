package report

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/iap"
	"revalidator/internal/phrase"
	"revalidator/repository"
	"revalidator/worker"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// TestObstacles is the table of what stands in the way of a receipt.
func TestObstacles(t *testing.T) {
	t.Parallel()
	now := noon
	before, after := now.Add(-time.Hour), now.Add(time.Hour)
	accused := "account_gone"
	noSecret, byPerson, person, run := apps.PausedNoSecret, apps.PausedByPerson, "a person said so", int64(7)
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
		{"with a worker", repository.StoredReceipt{ClaimedUntil: &after, RunID: &run}, []string{"run 7 checks it now"}},
		{"left by a worker", repository.StoredReceipt{ClaimedUntil: &before}, []string{"expired claim: a worker had it"}},
		{"wrong app", repository.StoredReceipt{State: iap.ReceiptWrongApp}, []string{"import it for that one"}},
		{"too large", repository.StoredReceipt{State: iap.ReceiptTooLarge}, []string{"larger than verifyReceipt takes"}},
		{"Xcode", repository.StoredReceipt{State: iap.ReceiptXcode}, []string{"never checked"}},
		{"quarantined", repository.StoredReceipt{State: iap.ReceiptQuarantined}, []string{"receipts release"}},
		{"malformed, paused", repository.StoredReceipt{State: iap.ReceiptMalformed, AppPausedAt: &before, AppPausedCode: &byPerson, AppPausedText: &person},
			[]string{person, "send a fresh one"}},
	}
	for _, test := range tests {
		got := Obstacles(test.receipt, now)
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
	accepted, malformed, timeout := noon, "receipt_malformed", "timeout"
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
		if got := HeldAgainst(test.receipt); got != test.want {
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
