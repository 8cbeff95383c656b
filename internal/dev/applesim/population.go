package applesim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// population computes customers. It holds none: a customer is a pure function
// of the seed, its number and how far ahead one looks.
type population struct {
	seed    uint64
	start   millis
	mix     *Mix
	pad     int
	crowd   int
	several int
	random  int // customers after the stories
	stories []Story
	apps    []*catalog
}

// customer is one customer of one app with everything that happens to them up
// to the moment that was asked for, and the receipt that the app has of them.
type customer struct {
	index     int
	app       *catalog
	sandbox   bool
	style     Style
	installed millis
	created   millis // of the receipt
	// more is when further app receipts were made; oldStyle is whether there is a
	// transaction receipt of the first period besides.
	more     []millis
	oldStyle bool
	begins   millis // of the first subscription; 0 is none

	chains    []*chain
	purchases []transaction // one-time purchases
}

// The numbers of a customer's transactions: a block of ids for each of at most
// two subscriptions, one for a crowd of them, and one for one-time purchases.
const (
	customerIDs     = 200_000
	blockIDs        = 50_000
	crowdBlock      = 2
	purchasesBlock  = 3
	maxPadRecords   = blockIDs - 1000
	productionIDs   = 400_000_000_000_000
	sandboxIDs      = 2_000_000_000_000_000
	orderLineOffset = 300_000_000_000_000
)

const year = 365 * day

func newPopulation(cfg Config) *population {
	p := &population{
		seed: cfg.Seed, start: at(cfg.Start), mix: cfg.Mix, pad: cfg.PadRecords, crowd: cfg.Crowd, several: cfg.Receipts,
		random: cfg.Customers, stories: cfg.Stories,
	}
	for i, app := range cfg.Apps {
		p.apps = append(p.apps, newCatalog(app, i))
	}
	return p
}

func (p *population) size() int { return len(p.stories) + p.random }

const refPrefix = "customer-"

func (c *customer) ref() string { return fmt.Sprintf("%s%07d", refPrefix, c.index) }

// find is the number of a customer by reference; false if there is no such
// customer.
func (p *population) find(ref string) (int, bool) {
	digits, ok := strings.CutPrefix(ref, refPrefix)
	index, err := strconv.Atoi(digits)
	return index, ok && err == nil && index >= 0 && index < p.size()
}

func (c *customer) environment() string {
	if c.sandbox {
		return Sandbox
	}
	return Production
}

func (c *customer) firstID(block int) int64 {
	base := int64(productionIDs)
	if c.sandbox {
		base = sandboxIDs
	}
	return base + int64(c.index)*customerIDs + int64(block)*blockIDs
}

// customer computes the customer with the number, up to the moment.
func (p *population) customer(index int, until millis) *customer {
	if index < len(p.stories) {
		return p.told(index, until)
	}
	return p.drawn(index, until)
}

// drawn is a random customer. It draws in a fixed order, whatever it draws.
func (p *population) drawn(index int, until millis) *customer {
	random := newRandom(p.seed, index, streamTraits)
	c := &customer{index: index, app: p.apps[index%len(p.apps)], style: StyleApp}
	c.sandbox = random.Float64() < p.mix.Sandbox
	kind, second, family := random.Float64(), random.Float64() < p.mix.TwoGroups, random.Float64() < p.mix.Family
	transactionStyle := random.Float64() < p.mix.TransactionStyle
	c.installed = p.start - (3 * year).part(random.Float64())
	c.created = c.installed + (p.start - c.installed).part(random.Float64())
	purchases := drawnPurchases{p.mix, newRandom(p.seed, index, streamPurchases)}
	if !transactionStyle {
		p.takeMore(c)
	}
	if kind < p.mix.NoPurchases {
		return c
	}
	if transactionStyle {
		c.style, second, family = StyleTransaction, false, false
	}
	if kind < p.mix.NoPurchases+p.mix.OneTimeOnly {
		purchases.keepsake(c)
		return c
	}
	p.subscribe(c, 0, family, random, until)
	if second {
		p.subscribe(c, 1, false, random, until)
	}
	if c.style == StyleApp {
		c.oldStyle = !family && c.begins <= p.start && chance(p.seed, uint64(index), streamMore, 1) < p.mix.OldStyle
		purchases.besides(c, p.pad)
		if chance(p.seed, uint64(index), streamCrowd) < p.mix.Crowded {
			p.gather(c, until)
		}
	}
	return c
}

// subscribe lets a random customer live with a subscription of the group.
func (p *population) subscribe(c *customer, group int, family bool, random *rand.Rand, until millis) {
	l := p.newLife(c, group, family, until)
	own := newRandom(p.seed, c.index, streamChains+uint64(group))
	l.fate = drawn{p.mix, own, c.sandbox}
	l.chain.quietIntent = own.Float64() < 0.1
	bought := c.installed + minute
	if c.style == StyleApp {
		bought += (60 * day).part(random.Float64() * random.Float64())
	}
	offer := Offer("")
	switch draw := own.Float64(); {
	case family:
	case draw < p.mix.Trial:
		offer = OfferTrial
	case draw < p.mix.Trial+p.mix.Intro:
		offer = OfferIntro
	case c.style == StyleApp && chance(p.seed, uint64(c.index), uint64(group), streamOffer) < p.mix.OfferCode:
		offer = OfferCode
	}
	if group == 0 {
		c.begins = bought
	}
	sold := []Period{Weekly, Monthly, Monthly, Monthly, Yearly}[own.IntN(5)]
	l.live(l.subscribe(c.app.groups[group][sold], bought, offer))
	if c.style == StyleTransaction {
		c.created = max(c.created, bought)
	}
}

func (p *population) newLife(c *customer, group int, family bool, until millis) *life {
	return c.newLife(c.firstID(group)+1, family, until)
}

// newLife is that of a subscription whose first transaction has the id.
func (c *customer) newLife(first int64, family bool, until millis) *life {
	l := &life{
		chain:   &chain{originalID: first, family: family},
		sandbox: c.sandbox, grace: c.app.GracePeriod, plain: c.style == StyleTransaction, until: until,
		nextID: first - 1, nextLine: first - 1 + orderLineOffset,
	}
	c.chains = append(c.chains, l.chain)
	return l
}

// told is the customer of a Story.
func (p *population) told(index int, until millis) *customer {
	s := p.stories[index]
	c := &customer{index: index, app: p.app(s.BundleID), sandbox: s.Environment == Sandbox, style: s.Style}
	if c.style == "" {
		c.style = StyleApp
	}
	bought := at(s.Bought)
	c.created = bought + minute
	if !s.ReceiptCreated.IsZero() {
		c.created = at(s.ReceiptCreated)
	}
	if s.Bought.IsZero() {
		c.installed = c.created
		return c
	}
	c.installed = bought - minute
	for _, created := range s.MoreReceipts {
		c.more = append(c.more, at(created))
	}
	c.oldStyle = s.OldStyle
	if s.Period == "" {
		c.buyOnce(c.app.keepsake, bought)
		if !s.RefundedAt.IsZero() {
			c.purchases[0].cancelled, c.purchases[0].reason = at(s.RefundedAt), "0"
		}
	} else {
		c.begins = bought
		l := p.newLife(c, 0, s.Family, until)
		l.fate = &scripted{acts: s.Acts, gap: s.Resubscribe}
		l.live(l.subscribe(c.app.groups[0][s.Period], bought, s.Offer))
	}
	for range s.PadRecords {
		c.buyOnce(c.app.coins, bought)
	}
	return c
}

func (p *population) app(bundleID string) *catalog {
	for _, app := range p.apps {
		if app.BundleID == bundleID {
			return app
		}
	}
	return nil
}

// transactions is every purchase that shows at now, one-time purchases last.
func (c *customer) transactions(now millis) []*transaction {
	var shown []*transaction
	for _, chain := range c.chains {
		for i := range chain.transactions {
			if t := &chain.transactions[i]; t.visible <= now {
				shown = append(shown, t)
			}
		}
	}
	for i := range c.purchases {
		if t := &c.purchases[i]; t.visible <= now {
			shown = append(shown, t)
		}
	}
	return shown
}

// latest is what exclude-old-transactions leaves of transactions: the newest
// period of each subscription, even where that was refunded before it began, and
// the one-time purchases.
func (c *customer) latest(now millis) []*transaction {
	var shown []*transaction
	for _, chain := range c.chains {
		if n := chain.visible(now); n > 0 {
			shown = append(shown, &chain.transactions[n-1])
		}
	}
	for i := range c.purchases {
		if t := &c.purchases[i]; t.visible <= now {
			shown = append(shown, t)
		}
	}
	return shown
}

// subscribed is whether the customer ever had a subscription until now, their
// own or the family's.
func (c *customer) subscribed(now millis) bool {
	return slices.ContainsFunc(c.chains, func(chain *chain) bool { return chain.current(now) != nil })
}
