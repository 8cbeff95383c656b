package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

func (p *program) explainCommand() *cobra.Command {
	var as, app string
	c := &cobra.Command{
		Use:   "explain (RECEIPT_ID | CUSTOMER_REF | TRANSACTION_ID) [flags]",
		Short: "Say why a receipt, customer or subscription is as it is",
		Long: `Say why a receipt, a customer or a subscription is as it is: what was asked and
answered last, when it is looked at next and by which rule, which events led
here, and what stands in the way. Apple is not asked; 'revalidator check' does.

An argument that is the id of several things lists them; --as and --app choose.`,
		Example: `  revalidator explain 42
  revalidator explain customer-7 --app com.example.reader
  revalidator explain 400000000000000 --as transaction`,
		Args: terminal.OneArgument("RECEIPT_ID, CUSTOMER_REF or TRANSACTION_ID"),
		RunE: func(c *cobra.Command, args []string) error {
			kind := repository.MatchKind(as)
			switch kind {
			case "", repository.MatchReceipt, repository.MatchCustomer, repository.MatchTransaction:
			default:
				return terminal.Usage(fmt.Errorf("--as %q: want receipt, customer or transaction", as))
			}
			return p.explain(c.Context(), args[0], kind, app)
		},
	}
	c.Flags().StringVar(&as, "as", "", "the `kind` of what the argument is the id of: receipt, customer or transaction")
	c.Flags().StringVar(&app, "app", "", "only of the app with the `bundle id`")
	p.AddJSON(c)
	return c
}

// Limits of what is explained at a time.
const (
	lastEvents          = 20
	maxExplained        = 20
	maxExplainPurchases = 1000
)

// explanation is what explain has to say, in JSON.
type explanation struct {
	Subject repository.Match `json:"subject"`
	ID      string           `json:"id"`
	// Receipts are the first ones where there are many.
	Receipts      []receiptExplanation `json:"receipts"`
	Subscriptions []subscriptionReport `json:"subscriptions"`
	Purchases     []iap.Purchase       `json:"purchases"`
	// Events are the last ones, the latest first.
	Events []repository.Event `json:"events"`
}

// receiptExplanation is a stored receipt with what its codes and rules mean.
type receiptExplanation struct {
	repository.StoredReceipt
	// The meanings are empty where there is nothing that they could be of.
	LastCodeMeaning  string   `json:"last_code_meaning"`
	LastErrorMeaning string   `json:"last_error_meaning"`
	NextCheckMeaning string   `json:"next_check_meaning"`
	Obstacles        []string `json:"obstacles"`
}

func explainReceipt(r repository.StoredReceipt, now time.Time) receiptExplanation {
	e := receiptExplanation{StoredReceipt: r, NextCheckMeaning: nextCheckText(r), Obstacles: obstacles(r, now)}
	if r.LastCode != nil {
		e.LastCodeMeaning = appstore.Code(*r.LastCode).Meaning()
	}
	if r.LastError != nil {
		e.LastErrorMeaning = failureText(*r.LastError)
	}
	return e
}

func (p *program) explain(ctx context.Context, id string, kind repository.MatchKind, app string) error {
	parts, err := p.open(ctx, needDatabase)
	if err != nil {
		return err
	}
	defer parts.close()
	subject, err := parts.subjectOf(ctx, id, kind, app)
	if err != nil {
		return err
	}
	e, err := parts.explanation(ctx, id, subject, parts.now())
	if err != nil {
		return err
	}
	if err := parts.explainClocks(ctx, e.Receipts); err != nil {
		return err
	}
	if err := parts.explainDistress(ctx, e.Receipts); err != nil {
		p.Note("redis does not answer, so it is not known whether Apple is asked less at the moment: %v", err)
	}
	return p.Print(e, e.text(parts.appleTime()))
}

// subjectOf is the one thing that an id is the id of.
func (s *parts) subjectOf(ctx context.Context, id string, kind repository.MatchKind, app string) (repository.Match, error) {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		number = 0 // no id of a receipt
	}
	matches, err := s.db.Matches(ctx, id, number)
	if err != nil {
		return repository.Match{}, err
	}
	var candidates []repository.Match
	for _, m := range matches {
		if (kind == "" || m.Kind == kind) && (app == "" || m.BundleID == app) {
			candidates = append(candidates, m)
		}
	}
	switch len(candidates) {
	case 0:
		return repository.Match{}, fmt.Errorf("nothing goes by %q: want the id of a receipt, a customer reference, or an original transaction id; see 'revalidator receipts list'", id)
	case 1:
		return candidates[0], nil
	}
	return repository.Match{}, terminal.Usage(ambiguous(id, candidates))
}

// ambiguous lists what an id may mean, with the flags that choose it.
func ambiguous(id string, candidates []repository.Match) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%q is the id of several things; choose one:", id)
	for _, m := range candidates {
		fmt.Fprintf(&text, "\n  --as %s --app %s %s", m.Kind, m.BundleID, environmentText(m.Environment))
	}
	return errors.New(strings.TrimRight(text.String(), " "))
}

// explanation reads all there is of a subject.
func (s *parts) explanation(ctx context.Context, id string, m repository.Match, now time.Time) (explanation, error) {
	e := explanation{Subject: m, ID: id, Receipts: []receiptExplanation{}, Purchases: []iap.Purchase{}, Events: []repository.Event{}}
	receipts, err := s.receiptsOf(ctx, id, m)
	if err != nil {
		return e, err
	}
	ids := make([]int64, len(receipts))
	for i, r := range receipts {
		ids[i] = r.ID
		e.Receipts = append(e.Receipts, explainReceipt(r, now))
	}
	transaction := ""
	if m.Kind == repository.MatchTransaction {
		// Of its receipts, what they show beside it is not asked for.
		ids, transaction = nil, id
	}
	subscriptions, err := s.db.SubscriptionsOf(ctx, ids, m.BundleID, transaction)
	if err != nil {
		return e, err
	}
	purchases, err := s.db.PurchasesOf(ctx, ids, m.BundleID, transaction, maxExplainPurchases)
	if err != nil {
		return e, err
	}
	events, err := s.db.LastEvents(ctx, keysOf(subscriptions, purchases), lastEvents)
	e.Subscriptions = subscriptionReports(subscriptions)
	e.Purchases = append(e.Purchases, purchases...)
	e.Events = append(e.Events, events...)
	return e, err
}

// receiptsOf are the receipts of a subject, or the first of them.
func (s *parts) receiptsOf(ctx context.Context, id string, m repository.Match) ([]repository.StoredReceipt, error) {
	query := repository.ReceiptQuery{BundleID: m.BundleID, Limit: maxExplained}
	switch m.Kind {
	case repository.MatchCustomer:
		query.CustomerRef = &id
	case repository.MatchReceipt:
		number, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return nil, err
		}
		query.IDs = []int64{number}
	case repository.MatchTransaction:
		ids, err := s.db.ReceiptsOfTransaction(ctx, m.BundleID, id, maxExplained)
		if err != nil || len(ids) == 0 {
			return nil, err
		}
		query.IDs = ids
	}
	return s.db.StoredReceipts(ctx, query)
}

// keysOf are the keys under which events are kept.
func keysOf(subscriptions []iap.Subscription, purchases []iap.Purchase) []iap.SubscriptionKey {
	keys := make([]iap.SubscriptionKey, 0, len(subscriptions)+len(purchases))
	for _, s := range subscriptions {
		keys = append(keys, s.SubscriptionKey)
	}
	for _, p := range purchases {
		keys = append(keys, iap.SubscriptionKey{BundleID: p.BundleID, Environment: p.Environment, OriginalTransactionID: p.OriginalTransactionID})
	}
	return keys
}
