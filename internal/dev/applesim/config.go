package applesim

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The environments, in Apple's spelling.
const (
	Production = "Production"
	Sandbox    = "Sandbox"
)

// Config describes a simulated App Store. The zero value is a frozen clock, two
// apps and no customers.
type Config struct {
	// Seed makes everything: customers, receipts, keys, faults. The same seed
	// and Start give the same bytes.
	Seed uint64
	// Customers is the number of random customers, shared among the apps in
	// turn. They follow the customers of Stories.
	Customers int
	// Stories are hand-made customers, numbered from 0 in this order.
	Stories []Story
	// Mix says how the random customers live; nil means DefaultMix.
	Mix *Mix
	// PadRecords is the number of unfinished consumable purchases that a
	// customer of Mix.Large has; 5500 records make a receipt of 2.2 MB.
	PadRecords int

	// Receipts is the number of app receipts that a customer of Mix.Several has,
	// taken at different times: the older ones show less in in_app.
	Receipts int
	// Crowd is the number of subscriptions that a customer of Mix.Crowded bought
	// an hour after Start: later than any receipt, which is as small as ever.
	Crowd int

	// Apps are the apps on sale; empty means DefaultApps(Seed).
	Apps []App
	// Start is the first simulated moment; zero means the time by Now. It
	// belongs to the population: all random customers installed before it.
	Start time.Time
	// Speed is simulated seconds per real second: 0 is frozen, 1 is real time.
	Speed float64
	// Now is the real clock; nil means time.Now.
	Now func() time.Time

	// MaxBody is the largest accepted request body in bytes; 0 means the
	// 3,145,728 that others measured.
	MaxBody int64
	// RateLimit is the number of requests in any second that one app may send
	// to one environment before it is answered 429; 0 means no limit.
	RateLimit int
	// LogSize is how many requests the log remembers; 0 means 10,000 and a
	// negative number none.
	LogSize int
	// Faults are the first rules; see SetFaults.
	Faults []Rule
	// LatestReceipt says what latest_receipt holds; empty means LatestSigned.
	LatestReceipt LatestReceipt
}

// App is one app on sale.
type App struct {
	BundleID string `json:"bundle_id"`
	// Secrets are the shared secrets that its receipts are accepted with.
	Secrets []string `json:"secrets"`
	// GracePeriod is whether the app opted in to the billing grace period.
	GracePeriod bool `json:"grace_period"`
}

// LatestReceipt is what a reply carries as latest_receipt.
type LatestReceipt string

// The choices of what latest_receipt holds.
const (
	// LatestSigned is a receipt of this moment, signed again as Apple does. The
	// signature costs about a millisecond of processor time.
	LatestSigned LatestReceipt = "signed"
	// LatestEcho is the receipt that was sent. It is for measuring the client
	// at rates that signing could not keep up with.
	LatestEcho LatestReceipt = "echo"
)

// maxBody is the measured limit of Apple's hosts. It is a third party's
// measurement, not Apple's promise.
const maxBody = 3 << 20

const (
	defaultLogSize = 10_000
	// maxReceipts is what one customer may have.
	maxReceipts = 100
)

// DefaultApps are com.example.reader, which opted in to the grace period, and
// com.example.fitness, which did not.
func DefaultApps(seed uint64) []App {
	return []App{
		NewApp(seed, "com.example.reader", true),
		NewApp(seed, "com.example.fitness", false),
	}
}

// NewApp is an app with one shared secret of 32 hex digits, derived from the
// seed and the bundle id.
func NewApp(seed uint64, bundleID string, gracePeriod bool) App {
	sum := sha256.Sum256([]byte("shared secret/" + strconv.FormatUint(seed, 10) + "/" + bundleID))
	return App{BundleID: bundleID, Secrets: []string{hex.EncodeToString(sum[:16])}, GracePeriod: gracePeriod}
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Start.IsZero() {
		c.Start = c.Now()
	}
	c.Start = c.Start.UTC().Truncate(time.Second)
	if len(c.Apps) == 0 {
		c.Apps = DefaultApps(c.Seed)
	}
	if c.Mix == nil {
		mix := DefaultMix()
		c.Mix = &mix
	}
	if c.MaxBody == 0 {
		c.MaxBody = maxBody
	}
	if c.LogSize == 0 {
		c.LogSize = defaultLogSize
	}
	if c.LatestReceipt == "" {
		c.LatestReceipt = LatestSigned
	}
	return c
}

// isBundleID holds bundle ids to Apple's letters, so that they can be written
// into replies as they are.
// https://developer.apple.com/documentation/bundleresources/information_property_list/cfbundleidentifier
func isBundleID(text string) bool {
	return text != "" && strings.IndexFunc(text, func(r rune) bool {
		return !(r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}) < 0
}

func (c Config) validate() error {
	var errs []error
	if c.Customers < 0 || c.PadRecords < 0 || c.PadRecords > maxPadRecords {
		errs = append(errs, fmt.Errorf("customers %d, pad records %d: want 0 or more, and at most %d pad records",
			c.Customers, c.PadRecords, maxPadRecords))
	}
	if c.Receipts < 0 || c.Receipts > maxReceipts {
		errs = append(errs, fmt.Errorf("receipts %d: want 0 to %d", c.Receipts, maxReceipts))
	}
	if c.Crowd < 0 || c.Crowd > MaxCrowd {
		errs = append(errs, fmt.Errorf("crowd %d: want 0 to %d", c.Crowd, MaxCrowd))
	}
	if c.Speed < 0 || c.MaxBody < 0 || c.RateLimit < 0 {
		errs = append(errs, errors.New("speed, body limit and rate limit cannot be negative"))
	}
	if c.LatestReceipt != LatestSigned && c.LatestReceipt != LatestEcho {
		errs = append(errs, fmt.Errorf("latest receipt %q: want %s or %s", c.LatestReceipt, LatestSigned, LatestEcho))
	}
	bundles := make(map[string]bool)
	for _, app := range c.Apps {
		if !isBundleID(app.BundleID) || bundles[app.BundleID] {
			errs = append(errs, fmt.Errorf("app %q: bundle id is malformed or given twice", app.BundleID))
		}
		bundles[app.BundleID] = true
	}
	for i, story := range c.Stories {
		if err := story.validate(bundles); err != nil {
			errs = append(errs, fmt.Errorf("story %d: %w", i, err))
		}
	}
	return errors.Join(append(errs, c.Mix.validate())...)
}
