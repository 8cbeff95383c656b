package appstore_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
)

var update = flag.Bool("update", false, "rewrite the golden files with what is derived")

// told decodes a reply that is asked about now where it does not say when.
func told(t *testing.T, body []byte) *iap.Facts {
	t.Helper()
	reply, _ := appstore.DecodeReply(bytes.NewReader(body), appstore.Limits{}) // a fragment has no status
	if reply.Facts.AsOf.IsZero() {
		reply.Facts.AsOf = fixedNow
	}
	return &reply.Facts
}

// TestDeriveMadeUp compares the made-up replies with their golden files.
func TestDeriveMadeUp(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "derive", "*.json"))
	if err != nil || len(files) < 30 {
		t.Fatalf("found %d replies, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			t.Parallel()
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(iap.Derive(told(t, body)), "", " ")
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".json") + ".golden"
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// recorded is what follows from a reply of the corpus, by subscription: status,
// product, transaction, end, and what else it tells.
type recorded struct {
	file string
	want []string
}

// recordings have each state on replies that Apple sent, or that somebody edited
// as little as could be found.
func recordings() []recorded {
	return []recorded{
		{file: "responses/alexalok-Valid-Production-Null-Download-Id-30e6e5.json", want: []string{"active com.test.app.week 120000938859451 2020-12-25T22:47 renews"}},
		{file: "responses/alexalok-Valid-Production-Excluding-Old-Subscriptions-78a1d0.json", want: []string{"active com.test.app.proYearly 500 2021-06-22T13:57"}},
		{file: "responses/levibostian-subscription-renewed-b0ab67.json", want: []string{"active test_subscription 1000000743044795 2020-11-17T19:54 renews"}},
		{file: "responses/nov-array-of-latest-receipt-info-21643d.json", want: []string{"active com.musteus.musteus.subscription.month 1000000131415863 2014-11-12T15:30"}},
		{file: "responses/gabrielgarza-response-f085bd.json", want: []string{"expired com.example.product_id 1000000218147651 2016-06-17T01:37 intent 1"}},
		{file: "responses/gofishing-ios6-21006-billing-retry.json", want: []string{"billing_retry bingo_apple_goldmembership1 1000000943901585 2022-01-06T11:38 intent 1"}},
		{file: "responses/linjunpop-exclude-old-transactions-false-16fccc.json", want: []string{"expired com.sumiapp.GridDiary.pro_subscription 110000284493242 2017-06-11T00:22 intent 2"}},
		{file: "responses/linjunpop-auto-renewable-receipt-50dfd1.json", want: []string{
			"expired com.sumiapp.GridDiary.pro.subscription 1000000250964693 2016-11-16T07:26 intent 1",
			"expired com.sumiapp.GridDiary.pro_subscription 1000000262887838 2017-01-05T07:06 intent 1",
		}},
		{file: "responses/linjunpop-auto-renewable-receipt-199b3d.json", want: []string{"expired com.sumiapp.GridDiary.pro.subscription 1000000248916093 2016-11-09T07:34"}},
		{file: "responses/readme-promo-offer-app-account-token.json", want: []string{
			"expired com.super.fun.product 1000000829104395 2021-06-18T14:19 introductory",
			"expired com.super.fun.product 1000000875091810 2021-09-09T18:37 intent 1 promotional",
		}},
		{file: "responses/Busuu-AppleHelper-ca1a7d.json", want: []string{
			"revoked com.busuu.app.subs12month_ft_jul_17 710000330793702 2019-09-18T09:59 revoked 1",
			"active com.busuu.app.subs12month.50_discount_sep_16 710000330793142 2019-09-18T09:56 renews",
		}},
		{file: "fragments/go-iap-pr58-ios6-billing-cancelled.json", want: []string{"revoked xxx xxx 2017-09-11T22:57 renews intent 2 revoked 1"}},
		{file: "fragments/receipt-verifier-pr13-refunded-renewal.json", want: []string{"revoked ... ... 2021-12-09T09:23 revoked 1"}},
	}
}

func standing(s iap.Subscription) string {
	text := string(s.Status) + " " + s.ProductID + " " + s.TransactionID + " " + s.ExpiresDate.Format("2006-01-02T15:04")
	if s.AutoRenewStatus != nil && *s.AutoRenewStatus {
		text += " renews"
	}
	if s.ExpirationIntent != "" {
		text += " intent " + string(s.ExpirationIntent)
	}
	if s.OfferType != "" {
		text += " " + string(s.OfferType)
	}
	if len(s.Revocations) > 0 {
		text += " revoked " + string(rune('0'+len(s.Revocations)))
	}
	return text
}

func TestDeriveRecorded(t *testing.T) {
	t.Parallel()
	bodies := make(map[string][]byte)
	for _, r := range corpus(t) {
		bodies[r.file] = r.body
	}
	seen, isWhole := make(map[iap.Status]bool), true
	for _, r := range recordings() {
		if bodies[r.file] == nil {
			isWhole = false // another folder
			continue
		}
		f := told(t, bodies[r.file])
		var got []string
		for _, s := range iap.Derive(f).Subscriptions {
			got = append(got, standing(s))
			seen[s.Status] = true
		}
		if diff := cmp.Diff(r.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", r.file, diff)
		}
	}
	for _, status := range iap.Statuses() {
		// No reply in the grace period is public, but one whose grace is over.
		if isWhole && !seen[status] && status != iap.StatusGracePeriod {
			t.Errorf("no recorded reply is %s", status)
		}
	}
}

// TestDeriveRecordedRetryWithoutIntent completes a fragment that Apple sent, in
// which the retry flag comes without an expiration intent.
func TestDeriveRecordedRetryWithoutIntent(t *testing.T) {
	t.Parallel()
	for _, r := range corpus(t) {
		if r.file != "fragments/store-receipt-validator-issue151-billing-retry-no-intent.json" {
			continue
		}
		f := told(t, r.body)
		f.AddTransaction(iap.Transaction{
			TransactionID: "1000000838121962", ProductID: "dpm.1month_7dt", ExpiresDate: fixedNow.Add(-time.Hour),
		}, iap.ListLatest)
		if got := iap.Derive(f).Subscriptions[0].Status; got != iap.StatusBillingRetry {
			t.Errorf("got %s, want %s", got, iap.StatusBillingRetry)
		}
		return
	}
	t.Skip("the folder of recorded data has no such fragment")
}

// TestDeriveRecordedInAnyOrder turns the records of every reply around.
func TestDeriveRecordedInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, r := range corpus(t) {
		f := told(t, r.body)
		blank := iap.Facts{AsOf: f.AsOf, Environment: f.Environment, BundleID: f.BundleID, TransactionStyle: f.TransactionStyle}
		plain, turned := blank, blank
		all := f.Transactions()
		for i := range all {
			turned.AddTransaction(all[len(all)-1-i], iap.ListLatest)
			plain.AddTransaction(all[i], iap.ListLatest)
		}
		renewals := f.RenewalInfos()
		for i := range renewals {
			turned.AddRenewalInfo(renewals[len(renewals)-1-i])
			plain.AddRenewalInfo(renewals[i])
		}
		if diff := cmp.Diff(iap.Derive(&plain), iap.Derive(&turned), cmpopts.IgnoreTypes(iap.Evidence{})); diff != "" {
			t.Errorf("%s (-as sent +turned around)\n%s", r.file, diff)
		}
	}
}
