package appstore_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"revalidator/internal/iap"
)

// TestSequences plays replies to one receipt, one after the other, and compares what
// is stored after each of them, when the receipt is checked next and which events
// there are with a golden file.
func TestSequences(t *testing.T) {
	t.Parallel()
	folders, err := filepath.Glob(filepath.Join("testdata", "sequences", "*"))
	if err != nil || len(folders) < 15 {
		t.Fatalf("found %d sequences, %v", len(folders), err)
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			replies, err := filepath.Glob(filepath.Join(folder, "*.json"))
			if err != nil || len(replies) < 2 {
				t.Fatalf("found %d replies, %v", len(replies), err)
			}
			var got strings.Builder
			var s sequence
			for _, file := range replies {
				body, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				s.reply(&got, iap.Derive(told(t, body)))
			}
			golden := filepath.Join(folder, "stored.golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// sequence is the one subscription of a receipt as it is stored.
type sequence struct {
	stored *iap.Subscription
}

// reply merges what a reply shows, and writes what came of it.
func (s *sequence) reply(out *strings.Builder, c iap.Conclusion) {
	const layout = "2006-01-02 15:04"
	brought := iap.Brought{News: true}
	var changes []iap.Change
	switch {
	case s.stored == nil:
		s.stored = &c.Subscriptions[0]
	default:
		facts := iap.Subscription{SubscriptionKey: s.stored.SubscriptionKey, AsOf: c.AsOf}
		if len(c.Subscriptions) > 0 {
			facts = c.Subscriptions[0]
		}
		after, progress := iap.Merge(*s.stored, facts)
		brought = iap.Brought{News: progress == iap.ProgressMerged, ShowsLess: progress == iap.ProgressShowsLess}
		changes = iap.Changes(s.stored, after, fixedNow)
		s.stored = &after
	}
	rows := iap.Conclusion{AsOf: c.AsOf}
	if !brought.ShowsLess {
		rows.Subscriptions = []iap.Subscription{*s.stored}
	}
	next := iap.DefaultPolicy().PlanAfter(rows, brought, c.AsOf, time.Hour, 1)
	fmt.Fprintf(out, "%s: %s until %s by %s, revoked %d, renews %s\n", c.AsOf.Format(layout), s.stored.Status,
		s.stored.ExpiresDate.Format(layout), s.stored.TransactionID, len(s.stored.Revocations), flagText(s.stored.AutoRenewStatus))
	fmt.Fprintf(out, "  next check %s by %s", cmp.Or(next.At.Format(layout), "never"), next.Rule)
	if brought.ShowsLess {
		out.WriteString("; the reply shows less")
	}
	out.WriteString("\n")
	for _, change := range changes {
		fmt.Fprintf(out, "  event %s\n", change.Type)
	}
}

func flagText(b *bool) string {
	if b == nil {
		return "unknown"
	}
	return fmt.Sprint(*b)
}
