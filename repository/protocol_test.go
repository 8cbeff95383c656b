package repository_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"

	"revalidator/internal/claim"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/iap"
	"revalidator/repository"
)

// TestProtocol does the same to a database and to the rules of internal/claim, in an
// order that is drawn, and expects the same of both after each step.
func TestProtocol(t *testing.T) {
	const receipts, steps, lease = 3, 300, time.Minute
	t.Parallel()
	url := repositorytest.URL(t)
	db, err := repository.Open(repository.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	direct, err := sqlx.Open("postgres", url.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = direct.Close() })
	f := fixture{db, t}
	f.addApp(app, 1000)
	f.receipts(app, receipts)
	run := f.run()
	random := rand.New(rand.NewPCG(21, 12))
	now := noon
	rules, until := make(map[int64]claim.State), make(map[int64]time.Time)
	for id := int64(1); id <= receipts; id++ {
		rules[id] = claim.State{Due: true}
	}
	known := ""
	for n := range steps {
		var step string
		now = now.Add(time.Second)
		switch random.IntN(6) {
		case 0, 1:
			step = "claim"
			want := make(map[int64]int64)
			for id, r := range rules {
				if next, ok := r.Claim(); ok {
					rules[id], until[id], want[id] = next, now.Add(lease), next.Generation
				}
			}
			claims, err := f.Claim(t.Context(), claim.Request{
				RunID: run.ID, Cutoff: now, Now: now, Until: now.Add(lease), Ahead: time.Hour, Limit: 100,
			})
			f.must(err)
			got := make(map[int64]int64)
			for _, c := range claims {
				got[c.ReceiptID] = c.Generation
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("step %d: claims (-want +got)\n%s", n, diff)
			}
		case 2, 3:
			// Also of claims that have ended, and of generations that are to come.
			id := 1 + random.Int64N(receipts)
			generation := max(0, rules[id].Generation+random.Int64N(3)-1)
			next := now.Add(time.Duration(random.IntN(2)) * 24 * time.Hour)
			step = fmt.Sprintf("save of %d, generation %d", id, generation)
			saved, stored := rules[id].Save(generation, !next.After(now))
			rules[id] = saved
			results, err := f.SaveOutcomes(t.Context(), []claim.Outcome{{
				ReceiptID: id, Generation: generation, RunID: run.ID, BundleID: app, At: now, Asked: true, Calls: 1,
				State: iap.ReceiptValid, NextCheck: iap.Check{At: next, Rule: iap.RuleRenewal},
			}})
			f.must(err)
			if results[0].Held != stored {
				t.Fatalf("step %d: %s: stored is %t, want %t", n, step, results[0].Held, stored)
			}
		case 4:
			step = "leases"
			now = now.Add(time.Duration(random.IntN(2)) * lease)
			for id, r := range rules {
				if r.Claimed && until[id].Before(now) {
					rules[id] = r.Release()
				}
			}
			_, err := f.ReleaseExpired(t.Context(), now)
			f.must(err)
		case 5:
			epoch := fmt.Sprint(random.IntN(3))
			step = "epoch " + epoch
			if claim.FollowsEpoch(known, epoch) {
				known = epoch
				for id, r := range rules {
					rules[id] = r.Release()
				}
			}
			_, err := f.FollowEpoch(t.Context(), reads(epoch))
			f.must(err)
		}
		if diff := cmp.Diff(rules, protocol(t, direct, now)); diff != "" {
			t.Fatalf("step %d, after %s: receipts (-rules +database)\n%s", n, step, diff)
		}
	}
}

// protocol is what the database keeps of each receipt.
func protocol(t *testing.T, db *sqlx.DB, now time.Time) map[int64]claim.State {
	t.Helper()
	var rows []struct {
		ID int64 `db:"id"`
		claim.State
	}
	const query = `SELECT id, generation, claimed_until IS NOT NULL AS claimed, next_check_at <= $1 AS due FROM receipts`
	if err := db.SelectContext(t.Context(), &rows, query, now); err != nil {
		t.Fatal(err)
	}
	receipts := make(map[int64]claim.State)
	for _, r := range rows {
		receipts[r.ID] = r.State
	}
	return receipts
}
