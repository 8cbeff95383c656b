package applesim

// held is one of the receipts that an app's backend has of a customer.
type held struct {
	style   Style
	created millis
}

// receipts are all that the backend has, the one that was sent last first.
func (c *customer) receipts() []held {
	all := []held{{c.style, c.created}}
	for _, created := range c.more {
		all = append(all, held{StyleApp, created})
	}
	if c.oldStyle && c.begins != 0 {
		all = append(all, held{StyleTransaction, c.begins})
	}
	return all
}

// takeMore has a random customer's app send receipts now and then from the day of
// its installation on. Some were taken before anything was bought.
func (p *population) takeMore(c *customer) {
	if chance(p.seed, uint64(c.index), streamMore) >= p.mix.Several {
		return
	}
	for i := range p.several - 1 {
		c.more = append(c.more, c.installed+1000*millis(i)+(c.created-c.installed).part(float64(i)/float64(p.several)))
	}
}
