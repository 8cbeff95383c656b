package apps

import (
	"strings"

	"revalidator/internal/iap"
)

// Source names what is asked about receipts.
type Source string

// SourceVerifyReceipt is Apple's verifyReceipt.
const SourceVerifyReceipt Source = "verify_receipt"

// Endpoint is where a source asks.
type Endpoint struct {
	Environment iap.Environment
	// Class is the class of endpoints, where Apple limits calls by it.
	Class string
}

// Budget names what a rate, or a breaker, is for.
type Budget struct {
	// BundleID is empty where it is for all apps.
	BundleID string
	Source   Source
	Endpoint
	// Size is about how large the requests are, "8 to 16 KiB", where only those are
	// meant: something before Apple may refuse them.
	Size string
}

// AllApps is what all apps share that ask a source in an environment.
func AllApps(s Source, e iap.Environment) Budget {
	return Budget{Source: s, Endpoint: Endpoint{Environment: e}}
}

// String is the budget as the rate limiter names it:
// "com.example.reader/verify_receipt:Production/8 to 16 KiB".
func (b Budget) String() string {
	text := b.BundleID + "/" + string(b.Source) + ":" + string(b.Environment)
	if b.Class != "" {
		text += ":" + b.Class
	}
	if b.Size != "" {
		text += "/" + b.Size
	}
	return text
}

// ParseBudget is the budget of a name.
func ParseBudget(name string) (b Budget) {
	var asked, rest string
	b.BundleID, rest, _ = strings.Cut(name, "/")
	asked, b.Size, _ = strings.Cut(rest, "/")
	source, endpoint, _ := strings.Cut(asked, ":")
	environment, class, _ := strings.Cut(endpoint, ":")
	b.Source, b.Endpoint = Source(source), Endpoint{iap.Environment(environment), class}
	return b
}
