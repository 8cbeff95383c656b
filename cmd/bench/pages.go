package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"revalidator/internal/claim"
	"revalidator/internal/runs"
	"revalidator/internal/secret"
	"revalidator/repository"
)

// pages measures how long it takes to find a page of due receipts in tables of
// two sizes, with one receipt in a hundred due. Beside it stands the whole claim:
// its updates write to every index of the table, at places all over it, and cost
// the more the less of the table is in memory, whichever way a page is found.
func (b *bench) pages(ctx context.Context) error {
	s, err := b.newStack(ctx, false) // a server that never syncs loads the table sooner
	if err != nil {
		return err
	}
	defer s.close()
	few, err := s.page(ctx, 100_000)
	if err != nil {
		return err
	}
	many, err := s.page(ctx, b.dueRows)
	if err != nil {
		return err
	}
	const index = "receipts_due"
	i := slices.IndexFunc(many.plan, func(line string) bool { return strings.Contains(line, "using "+index+" on receipts r") })
	found := "EXPLAIN does not show " + index
	if i >= 0 {
		found = "EXPLAIN: " + strings.TrimLeft(many.plan[i], " ->")
		found, _, _ = strings.Cut(found, "  (")
	}
	say("%s", strings.Join(many.plan, "\n"))
	slower := float64(many.found) / float64(few.found)
	rows := strconv.Itoa(b.dueRows)
	b.table.add(row{
		name: b.name("Page/rows=" + rows), what: fmt.Sprintf("page of %d due receipts found at %s rows, 1 %% due; %s", pageRows, rows, found),
		figure: figure{value: float64(many.found), unit: unitTime, rank: slower},
		ours:   many.String(), baseline: few.String() + " at 10⁵",
		ratio: times(slower), target: "≤ 1.5×", met: slower <= 1.5 && i >= 0,
	})
	return nil
}

const (
	pageRows = 100
	oneInDue = 100
)

// page is what a page of due receipts takes: the median of pages that take all
// the smaller table has due, several times over.
type page struct {
	found, claimed time.Duration // claimed is found and updated
	plan           []string
}

func (p page) String() string {
	return fmt.Sprintf("%s (claimed %s)", p.found.Round(10*time.Microsecond), p.claimed.Round(10*time.Microsecond))
}

func (s *stack) page(ctx context.Context, rows int) (p page, err error) {
	say("  filling %d rows …", rows)
	if err := s.fillRows(ctx, rows, oneInDue); err != nil {
		return p, err
	}
	db, err := repository.Open(repository.Config{URL: secret.New(s.url), ApplicationName: "bench"})
	if err != nil {
		return p, err
	}
	defer db.Close()
	now := time.Now()
	owner := runs.Lease{Owner: "bench", Until: now.Add(time.Hour)}
	run, err := db.OpenRun(ctx, runs.Run{
		Kind: runs.Manual, ScheduledFor: now, Cutoff: now, Deadline: now.Add(time.Hour),
	}, owner, now)
	if err != nil {
		return p, err
	}
	request := claim.Request{
		RunID: run.ID, Cutoff: run.Cutoff, Now: now, Until: now.Add(time.Hour), Ahead: time.Minute, Share: 1, Limit: pageRows,
	}
	var found, claimed []time.Duration
	for range 5 {
		for range 10 {
			if p.plan, err = db.ExplainClaim(ctx, request); err != nil {
				return p, err
			}
			text := strings.Join(p.plan, "\n")
			found, claimed = append(found, milliseconds(foundTime, text)), append(claimed, milliseconds(claimedTime, text))
		}
		if err := s.execAll(ctx, nil, `UPDATE receipts SET claimed_until = NULL, run_id = NULL WHERE claimed_until IS NOT NULL`, `VACUUM receipts`); err != nil {
			return p, err
		}
	}
	p.found, p.claimed = median(found), median(claimed)
	if p.found == 0 || p.claimed == 0 {
		return p, fmt.Errorf("the plan does not tell the time of a page of %d receipts:\n%s", pageRows, strings.Join(p.plan, "\n"))
	}
	return p, nil
}

// Where in a plan the time stands to find and lock a page, and that of all of it.
var (
	foundTime   = regexp.MustCompile(`CTE due\n.*actual time=[0-9.]+\.\.([0-9.]+) rows=` + strconv.Itoa(pageRows) + ` `)
	claimedTime = regexp.MustCompile(`Execution Time: ([0-9.]+) ms`)
)

// milliseconds is a time in a plan, 0 where it is not there.
func milliseconds(where *regexp.Regexp, plan string) time.Duration {
	match := where.FindStringSubmatch(plan)
	if match == nil {
		return 0
	}
	ms, _ := strconv.ParseFloat(match[1], 64)
	return time.Duration(ms * float64(time.Millisecond))
}
