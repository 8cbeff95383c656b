package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"revalidator/internal/ledger"
	"revalidator/internal/secret"
	"revalidator/repository"
)

// pages measures how long it takes to claim a page of due receipts from tables
// of two sizes, with one receipt in a hundred due.
func (b *bench) pages(ctx context.Context) error {
	s, err := b.newStack(ctx, false) // a server that never syncs loads the table sooner
	if err != nil {
		return err
	}
	defer s.close()
	few, _, err := s.page(ctx, 100_000)
	if err != nil {
		return err
	}
	many, plan, err := s.page(ctx, b.dueRows)
	if err != nil {
		return err
	}
	const index = "receipts_due"
	i := slices.IndexFunc(plan, func(line string) bool { return strings.Contains(line, "using "+index+" on receipts r") })
	found := "EXPLAIN does not show " + index
	if i >= 0 {
		found = "EXPLAIN: " + strings.TrimLeft(plan[i], " ->")
		found, _, _ = strings.Cut(found, "  (")
	} else {
		say("%s", strings.Join(plan, "\n"))
	}
	slower := float64(many) / float64(few)
	b.table.add(row{fmt.Sprintf("page of %d due receipts at %s rows, 1 %% due; %s", pageRows, strconv.Itoa(b.dueRows), found),
		many.Round(10 * time.Microsecond).String(), few.Round(10*time.Microsecond).String() + " at 10⁵", times(slower), "≤ 1.5×", slower <= 1.5 && i >= 0})
	return nil
}

const (
	pageRows = 100
	oneInDue = 100
)

// page is the time to claim a page at so many rows: the median of pages that
// take all the smaller table has due, several times over.
func (s *stack) page(ctx context.Context, rows int) (time.Duration, []string, error) {
	say("  filling %d rows …", rows)
	if err := s.fillRows(ctx, rows, oneInDue); err != nil {
		return 0, nil, err
	}
	db, err := repository.Open(repository.Config{URL: secret.New(s.url), ApplicationName: "bench"})
	if err != nil {
		return 0, nil, err
	}
	defer db.Close()
	now := time.Now()
	owner := ledger.Lease{Owner: "bench", Until: now.Add(time.Hour)}
	run, err := db.OpenRun(ctx, ledger.Run{
		Kind: ledger.RunManual, ScheduledFor: now, Cutoff: now, Deadline: now.Add(time.Hour),
	}, owner, now)
	if err != nil {
		return 0, nil, err
	}
	request := ledger.ClaimRequest{
		RunID: run.ID, Cutoff: run.Cutoff, Now: now, Until: now.Add(time.Hour), Ahead: time.Minute, Share: 1, Limit: pageRows,
	}
	plan, err := db.ExplainClaim(ctx, request)
	if err != nil {
		return 0, nil, err
	}
	var took []time.Duration
	for range 5 {
		for range 10 {
			started := time.Now()
			claims, err := db.Claim(ctx, request)
			if err != nil || len(claims) != pageRows {
				return 0, nil, fmt.Errorf("claimed %d receipts of %d: %w", len(claims), pageRows, err)
			}
			took = append(took, time.Since(started))
		}
		if err := s.execAll(ctx, nil, `UPDATE receipts SET claimed_until = NULL, run_id = NULL WHERE claimed_until IS NOT NULL`, `VACUUM receipts`); err != nil {
			return 0, nil, err
		}
	}
	slices.Sort(took)
	return took[len(took)/2], plan, nil
}
