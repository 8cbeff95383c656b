package applesim

import "math/rand/v2"

// drawnPurchases buys what a random customer buys once.
type drawnPurchases struct {
	mix    *Mix
	random *rand.Rand
}

// besides adds the one-time purchases of a customer who has a subscription.
func (d drawnPurchases) besides(c *customer, pad int) {
	if d.random.Float64() < d.mix.OneTime {
		d.keepsake(c)
	}
	if d.random.Float64() < d.mix.Large {
		d.coins(c, pad)
	}
}

// keepsake buys the one thing to keep while the receipt is made, and perhaps
// gets the money back weeks later.
func (d drawnPurchases) keepsake(c *customer) {
	c.buyOnce(c.app.keepsake, c.installed+(c.created-c.installed).part(d.random.Float64()))
	bought := &c.purchases[len(c.purchases)-1]
	refunded, after := d.random.Float64() < d.mix.RefundedOneTime, (60 * day).part(d.random.Float64())
	if refunded {
		bought.cancelled, bought.reason = bought.bought+hour+after, "0"
	}
}

// coins are consumables that the app never finished, spread over the time
// until the receipt was made.
func (d drawnPurchases) coins(c *customer, n int) {
	for i := range n {
		c.buyOnce(c.app.coins, c.installed+(c.created-c.installed).part(float64(i)/float64(n)))
	}
}

func (c *customer) buyOnce(p *product, bought millis) {
	id := c.firstID(purchasesBlock) + 1 + int64(len(c.purchases))
	c.purchases = append(c.purchases, transaction{
		id: id, originalID: id, product: p, bought: bought, originallyBought: bought, visible: bought,
	})
}
