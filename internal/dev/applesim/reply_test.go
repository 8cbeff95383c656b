package applesim

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/dev/corpustest"
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

// TestKeysAreApples compares the keys of the golden replies with those of
// recorded ones. The few that no public recording has are documented by Apple.
func TestKeysAreApples(t *testing.T) {
	t.Parallel()
	known := recordedKeys(t)
	documented := []string{
		"/latest_receipt_info/is_upgraded",
		"/latest_receipt_info/offer_code_ref_name",
		"/pending_renewal_info/price_consent_status",
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d golden replies, %v", len(files), err)
	}
	ours := make(map[string]bool)
	for _, name := range files {
		reply, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		readKeys(reply, ours)
	}
	for key := range ours {
		if !known[key] && !slices.Contains(documented, key) {
			t.Errorf("key %s: no recorded reply has it", key)
		}
	}
}

// recordedKeys reads the list of keys that recorded replies have. With -update
// those of a folder of recorded data are added first; no folder has all of them.
func recordedKeys(t *testing.T) map[string]bool {
	t.Helper()
	name := filepath.Join("testdata", "recorded_keys.txt")
	list, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]bool)
	for key := range strings.FieldsSeq(string(list)) {
		keys[key] = true
	}
	if *update {
		for _, e := range corpustest.Entries(t, corpustest.KindResponse, corpustest.KindFragment) {
			readKeys(e.Data, keys)
		}
		text := strings.Join(slices.Sorted(maps.Keys(keys)), "\n") + "\n"
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

func readKeys(reply []byte, into map[string]bool) {
	var value any
	if err := json.Unmarshal(reply, &value); err == nil {
		keysOf(value, "", into)
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
