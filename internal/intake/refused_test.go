package intake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/database"
	"revalidator/internal/iap"
)

// picky is a Store that refuses each batch with a customer that it does not like.
type picky struct {
	memory
	dislikes map[string]error
}

func (p *picky) AddReceipts(ctx context.Context, batch []iap.Receipt, now time.Time) ([]bool, error) {
	for _, r := range batch {
		if err := p.dislikes[r.CustomerRef]; err != nil {
			return nil, fmt.Errorf("add %d receipts: %w", len(batch), err)
		}
	}
	return p.memory.AddReceipts(ctx, batch, now)
}

// TestRefusedLinesAreRejected and nothing else: an import goes on.
func TestRefusedLinesAreRejected(t *testing.T) {
	t.Parallel()
	errChar := fmt.Errorf("%w: no such character", database.ErrRefused)
	for name, test := range map[string]struct {
		dislikes map[string]error
		rows     int
		rejects  string
		reasons  map[Reason]int64
	}{
		"one in the middle": {map[string]error{"c5": errChar}, 500, "5 not_stored, ", map[Reason]int64{ReasonNotStored: 1}},
		"first and last":    {map[string]error{"c1": errChar, "c9": errChar}, 4, "1 not_stored, 9 not_stored, ", map[Reason]int64{ReasonNotStored: 2}},
		"a whole batch":     {map[string]error{"c4": errChar, "c5": errChar, "c6": errChar}, 3, "4 not_stored, 5 not_stored, 6 not_stored, ", map[Reason]int64{ReasonNotStored: 3}},
		"one at a time":     {map[string]error{"c1": errChar}, 1, "1 not_stored, ", map[Reason]int64{ReasonNotStored: 1}},
		"app removed":       {map[string]error{"c2": database.ErrNotFound}, 500, "2 unknown_app, ", map[Reason]int64{ReasonUnknownApp: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &picky{dislikes: test.dislikes}
			var rejects strings.Builder
			cfg := config(store, &rejects)
			cfg.BatchRows = test.rows
			result := run(t, goodLines(9), NDJSON, cfg)
			var got string
			for _, r := range parseRejects(t, rejects.String()) {
				got += fmt.Sprintf("%d %s, ", r.Line, r.Reason)
				if *r.CustomerRef != fmt.Sprintf("c%d", r.Line) || *r.BundleID != app || len(r.Receipt) == 0 || r.Error == "" {
					t.Errorf("reject %+v does not say of which", r)
				}
			}
			if got != test.rejects {
				t.Errorf("rejects: got %q, want %q", got, test.rejects)
			}
			if diff := cmp.Diff(test.reasons, result.ByReason); diff != "" {
				t.Errorf("reasons (-want +got)\n%s", diff)
			}
			bad := int64(len(test.dislikes))
			if result.Added != 9-bad || result.Rejected != bad || result.Lines != 9 || result.ByKind[iap.KindAppReceipt] != 9-bad {
				t.Errorf("result %+v, want %d added and %d rejected", result, 9-bad, bad)
			}
			if n := len(store.rows); n != int(9-bad) {
				t.Errorf("%d are stored, want %d", n, 9-bad)
			}
		})
	}
}

// TestWhereAllAreRefusedItIsNotTheLines ends at once, and rejects nothing.
func TestWhereAllAreRefusedItIsNotTheLines(t *testing.T) {
	t.Parallel()
	store := &picky{dislikes: make(map[string]error)}
	for i := range 9 {
		store.dislikes[fmt.Sprintf("c%d", i+1)] = database.ErrRefused
	}
	var rejects strings.Builder
	result, err := Run(t.Context(), strings.NewReader(goodLines(9)), NDJSON, config(store, &rejects))
	if !errors.Is(err, database.ErrRefused) || rejects.Len() > 0 || result.LastLine != 0 {
		t.Errorf("got %v, line %d and rejects %q; want an error and nothing done", err, result.LastLine, &rejects)
	}
}

// TestOtherFaultsEndAnImport as before.
func TestOtherFaultsEndAnImport(t *testing.T) {
	t.Parallel()
	store := &picky{dislikes: map[string]error{"c2": database.ErrUnavailable}}
	var rejects strings.Builder
	if _, err := Run(t.Context(), strings.NewReader(goodLines(9)), NDJSON, config(store, &rejects)); !errors.Is(err, database.ErrUnavailable) || rejects.Len() > 0 {
		t.Errorf("got %v and rejects %q, want the error of the store", err, &rejects)
	}
}
