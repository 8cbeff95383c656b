package applesim

import "strconv"

const (
	// crowdIDs is the block of ids of each subscription of a crowd: they are
	// yearly ones.
	crowdIDs = 25
	// MaxCrowd is the largest Config.Crowd.
	MaxCrowd = blockIDs / crowdIDs
	// crowdGroups is the first subscription group of a crowd.
	crowdGroups = 20_800_000
)

// gather has a random customer buy a crowd of yearly subscriptions, each of a
// group of its own, an hour after the start. They renew for ever.
func (p *population) gather(c *customer, until millis) {
	bought := p.start + hour
	if until < bought {
		return
	}
	for i := range p.crowd {
		l := c.newLife(c.firstID(crowdBlock)+1+int64(i)*crowdIDs, false, until)
		l.fate = &scripted{}
		l.live(l.subscribe(c.app.crowded(i), bought, ""))
	}
}

// crowded is the product of the subscription with the number in a crowd.
func (c *catalog) crowded(i int) *product {
	return &product{
		id: c.BundleID + ".crowd" + strconv.Itoa(i), kind: autoRenewable, period: Yearly,
		group: strconv.Itoa(crowdGroups + i),
	}
}
