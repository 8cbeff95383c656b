package main

import (
	"encoding/json"
	"fmt"
	"strconv"

	"revalidator/internal/iap"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// eventPrinter prints events as they come, each on a line of its own.
type eventPrinter struct {
	terminal *terminal.Terminal
	// table has the names of the columns once they were printed.
	table *terminal.Table
}

func (o *eventPrinter) print(events []repository.EventDetails) error {
	if o.terminal.JSON {
		return o.lines(events)
	}
	if len(events) == 0 {
		return nil
	}
	if o.table == nil {
		o.table = o.terminal.Page(o.terminal.Out).Table().Cut(2, 3, 4).Spare(0, 4)
		o.row("ID", "TIME", "EVENT", "PRODUCT", "SUBSCRIPTION", "CUSTOMER")
	}
	for _, e := range events {
		customer := ""
		if e.CustomerRef != nil {
			customer = *e.CustomerRef
		}
		o.row(strconv.FormatInt(e.ID, 10), phrase.Time(e.RecordedAt), eventText(e), e.ProductID, e.OriginalTransactionID, customer)
	}
	if err := o.table.End(); err != nil {
		return fmt.Errorf("print events up to %d: %w", events[len(events)-1].ID, err)
	}
	return nil
}

// row is a line of the table, with the customer where it may be as wide as it needs.
func (o *eventPrinter) row(id, at, event, product, subscription, customer string) {
	if o.terminal.Wide {
		o.table.Row("%s\t%s\t%s\t%s\t%s\t%s", id, at, event, product, subscription, customer)
		return
	}
	o.table.Row("%s\t%s\t%s\t%s\t%s", id, at, event, product, subscription)
}

// lines prints each event as a document on a line of its own.
func (o *eventPrinter) lines(events []repository.EventDetails) error {
	encoder := json.NewEncoder(o.terminal.Out)
	encoder.SetEscapeHTML(false)
	for _, e := range events {
		if err := encoder.Encode(e); err != nil {
			return fmt.Errorf("print event %d: %w", e.ID, err)
		}
	}
	return nil
}

// eventText is the type in words, and why a subscription expired where Apple
// says so.
func eventText(e repository.EventDetails) string {
	text := phrase.Words(string(e.Type))
	if e.Type != iap.EventExpired {
		return text
	}
	var after iap.Subscription
	if json.Unmarshal(e.After, &after) != nil || after.ExpirationIntent == "" {
		return text
	}
	return text + ": " + report.ExpiredFor(after.ExpirationIntent)
}
