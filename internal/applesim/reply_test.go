package applesim

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden replies in testdata")

// receiptText is a receipt within a reply; the golden replies leave it out.
var receiptText = regexp.MustCompile(`"latest_receipt":"[^"]*"`)

// TestGoldenReplies compares whole replies of made-up customers.
func TestGoldenReplies(t *testing.T) {
	t.Parallel()
	bought := start.AddDate(0, 0, -40)
	tests := []struct {
		name string
		life Story
	}{
		{"grace", Story{Period: Monthly, Offer: OfferIntro, Acts: []Act{ActRecoverLate}}},
		{"upgraded", Story{Period: Weekly, Offer: OfferTrial, Acts: []Act{ActUpgrade}}},
		{"price_increase", Story{Period: Monthly, Bought: start.AddDate(0, 0, -20), Acts: []Act{ActPriceRefused}}},
		{"refunded_once", Story{RefundedAt: start.AddDate(0, 0, -1)}},
		{"family_lost", Story{Period: Monthly, Family: true, Acts: []Act{ActFamilyLoss}}},
		{"sandbox_lapsed", Story{Period: Monthly, Environment: Sandbox, Acts: []Act{ActTurnOff}}},
		{"transaction_active", Story{Period: Yearly, Style: StyleTransaction}},
		{"transaction_retry", Story{Period: Monthly, Style: StyleTransaction, Acts: []Act{ActRecoverLate}}},
		{"transaction_refunded_once", Story{Style: StyleTransaction, RefundedAt: start.AddDate(0, 0, -1)}},
	}
	stories := []Story{}
	for _, test := range tests {
		test.life.BundleID = reader
		if test.life.Bought.IsZero() {
			test.life.Bought = bought
		}
		stories = append(stories, test.life)
	}
	stories = append(stories, Story{BundleID: reader, ReceiptCreated: start},
		Story{BundleID: reader, Period: Monthly, Bought: start.AddDate(0, 0, -20), Offer: OfferCode})
	for _, name := range []string{"no_purchases", "offer_code"} {
		tests = append(tests, struct {
			name string
			life Story
		}{name: name})
	}
	s := newSim(t, Config{Stories: stories})
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := "production"
			if test.life.Environment == Sandbox {
				path = "sandbox"
			}
			got := receiptText.ReplaceAllString(send(t, s, path, askFor(t, s, i)).Body.String(), `"latest_receipt":"…"`)
			if !json.Valid([]byte(got)) {
				t.Errorf("not JSON: %s", got)
			}
			golden(t, filepath.Join("testdata", test.name+".json"), got)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// keysOf collects every key of a JSON value by its path; the index of a list
// is no part of it.
func keysOf(value any, path string, into map[string]bool) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			into[path+"/"+key] = true
			keysOf(inner, path+"/"+key, into)
		}
	case []any:
		for _, inner := range value {
			keysOf(inner, path, into)
		}
	}
}

// TestKeysAreApples compares the keys of the golden replies with those of the
// recorded ones. The few that no public recording has are documented by Apple.
func TestKeysAreApples(t *testing.T) {
	t.Parallel()
	corpus := os.Getenv("REVALIDATOR_CORPUS")
	if corpus == "" {
		t.Skip("REVALIDATOR_CORPUS is not set: no recorded replies to compare with")
	}
	known := make(map[string]bool)
	readKeys(t, filepath.Join(corpus, "responses", "*.json"), known)
	readKeys(t, filepath.Join(corpus, "fragments", "*.json"), known)
	documented := []string{
		"/latest_receipt_info/is_upgraded",
		"/latest_receipt_info/offer_code_ref_name",
		"/pending_renewal_info/price_consent_status",
	}
	ours := make(map[string]bool)
	readKeys(t, filepath.Join("testdata", "*.json"), ours)
	for key := range ours {
		if !known[key] && !slices.Contains(documented, key) {
			t.Errorf("key %s: no recorded reply has it", key)
		}
	}
}

func readKeys(t *testing.T, pattern string, into map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := json.NewDecoder(strings.NewReader(string(data))).Decode(&value); err == nil {
			keysOf(value, "", into)
		}
	}
}

func BenchmarkVerifyReceipt(b *testing.B) {
	for _, latest := range []LatestReceipt{LatestEcho, LatestSigned} {
		b.Run(string(latest), func(b *testing.B) {
			s := newSim(b, Config{Customers: 100, LatestReceipt: latest})
			asks := make([]ask, 100)
			for i := range asks {
				asks[i] = askFor(b, s, i)
			}
			var n int
			for b.Loop() {
				send(b, s, "production", asks[n%len(asks)])
				n++
			}
		})
	}
}

func BenchmarkVerifyLargeReceipt(b *testing.B) {
	s := newSim(b, Config{LatestReceipt: LatestSigned, Stories: []Story{
		{BundleID: reader, Bought: start.AddDate(-1, 0, 0), Period: Monthly, PadRecords: 5500},
	}})
	a := askFor(b, s, 0)
	for b.Loop() {
		send(b, s, "production", a)
	}
}
