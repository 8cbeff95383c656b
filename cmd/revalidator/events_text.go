package main

import (
	"encoding/json"
	"fmt"

	"revalidator/internal/iap"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// eventPrinter prints events as they come, each on a line of its own.
type eventPrinter struct {
	terminal *terminal.Terminal
	wide     bool
	// hasHead is whether the names of the columns were printed.
	hasHead bool
}

// eventLine has the columns of a terminal: id, time, event, product, subscription.
const (
	eventLine     = "%-7s %-11s %-24s %-16s %s\n"
	wideEventLine = "%-7s %-11s %-24s %-32s %-24s %s\n"
)

func (o *eventPrinter) print(events []repository.EventDetails) error {
	for _, e := range events {
		if err := o.one(e); err != nil {
			return fmt.Errorf("print event %d: %w", e.ID, err)
		}
	}
	return nil
}

func (o *eventPrinter) one(e repository.EventDetails) error {
	if o.terminal.JSON {
		encoder := json.NewEncoder(o.terminal.Out)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(e)
	}
	text := ""
	if !o.hasHead {
		text = o.line("ID", "TIME (UTC)", "EVENT", "PRODUCT", "CUSTOMER", "SUBSCRIPTION")
		o.hasHead = true
	}
	customer := ""
	if e.CustomerRef != nil {
		customer = *e.CustomerRef
	}
	text += o.line(fmt.Sprint(e.ID), e.RecordedAt.UTC().Format("01-02 15:04"), eventText(e), e.ProductID, customer, e.OriginalTransactionID)
	_, err := o.terminal.Out.Write([]byte(text))
	return err
}

// line has the columns of a terminal, or all of them with whole values.
func (o *eventPrinter) line(id, at, event, product, customer, subscription string) string {
	if o.wide {
		return fmt.Sprintf(wideEventLine, id, at, event, product, customer, subscription)
	}
	return fmt.Sprintf(eventLine, id, at, event, terminal.Short(product, 16), terminal.Short(subscription, 18))
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
