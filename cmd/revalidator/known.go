package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"revalidator/internal/database"
	"revalidator/internal/phrase"
	"revalidator/internal/runs"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// What a filter names must be there: a mistyped name would choose nothing, which
// looks like good news.

// knowsApps refuses apps that there are not. An empty one is none, and is known.
func (s *parts) knowsApps(ctx context.Context, bundleIDs ...string) error {
	if strings.Join(bundleIDs, "") == "" {
		return nil
	}
	apps, err := s.db.Apps(ctx)
	if err != nil {
		return err
	}
	known := make([]string, len(apps))
	for i, a := range apps {
		known[i] = a.BundleID
	}
	for _, id := range bundleIDs {
		if id != "" && !slices.Contains(known, id) {
			return terminal.Usage(terminal.Unknown("--app", id, known))
		}
	}
	return nil
}

// knowsCustomers refuses customers of whom there is no receipt.
func (s *parts) knowsCustomers(ctx context.Context, refs ...string) error {
	unknown, err := s.db.UnknownCustomers(ctx, refs)
	if err != nil || len(unknown) == 0 {
		return err
	}
	neighbours, err := s.db.CustomersNear(ctx, unknown[0])
	if err != nil {
		return err
	}
	text := fmt.Sprintf("--customer: no receipts of customer %q", unknown[0])
	if near := terminal.Near(unknown[0], neighbours); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	if more := len(unknown) - 1; more > 0 {
		text += fmt.Sprintf(", nor of %d others that were given", more)
	}
	return terminal.Usage(errors.New(text + "\nSee 'revalidator receipts list'"))
}

// knowsRun refuses a run that there is not; 0 is none.
func (s *parts) knowsRun(ctx context.Context, id int64) error {
	if id == 0 {
		return nil
	}
	_, err := s.totalsOf(ctx, "run", id)
	if errors.Is(err, database.ErrNotFound) {
		return terminal.Usage(fmt.Errorf("--run: %w", err))
	}
	return err
}

// knows refuses what there is not of what a query for receipts names.
func (s *parts) knows(ctx context.Context, q repository.ReceiptQuery) error {
	if err := s.knowsApps(ctx, q.BundleID); err != nil {
		return err
	}
	if q.CustomerRef != nil {
		if err := s.knowsCustomers(ctx, *q.CustomerRef); err != nil {
			return err
		}
	}
	return s.knowsRun(ctx, q.RunID)
}

// knowsChosen refuses what there is not of what a filter names.
func (s *parts) knowsChosen(ctx context.Context, f runs.Filter) error {
	if err := s.knowsApps(ctx, f.BundleIDs...); err != nil {
		return err
	}
	if err := s.knowsCustomers(ctx, f.CustomerRefs...); err != nil {
		return err
	}
	unknown, err := s.db.UnknownReceipts(ctx, f.IDs)
	if err != nil || len(unknown) == 0 {
		return err
	}
	names := make([]string, len(unknown))
	for i, id := range unknown {
		names[i] = strconv.FormatInt(id, 10)
	}
	return terminal.Usage(fmt.Errorf("--ids: of %d ids %d are the id of no receipt: %s\nSee 'revalidator receipts list'",
		len(f.IDs), len(unknown), phrase.List(names)))
}

// knowsOfEvents refuses what there is not of what a query for events names.
func (s *parts) knowsOfEvents(ctx context.Context, q repository.EventQuery) error {
	if err := s.knows(ctx, repository.ReceiptQuery{BundleID: q.BundleID, CustomerRef: q.CustomerRef, RunID: q.RunID}); err != nil {
		return err
	}
	if q.ProductID == "" {
		return nil
	}
	products, err := s.db.EventProducts(ctx)
	if err == nil && !slices.Contains(products, q.ProductID) {
		err = terminal.Usage(terminal.Unknown("--product", q.ProductID, products))
	}
	return err
}
