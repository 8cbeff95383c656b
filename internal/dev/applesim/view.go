package applesim

import "slices"

// view is how much of what is true a reply shows. The zero view is all of it.
type view struct {
	// oldest is how many periods of each subscription are shown, the oldest ones
	// and never the newest; 0 is all.
	oldest    int
	bare      bool // no purchase at all
	noRenewal bool
}

func (v view) hidesRenewal() bool { return v.noRenewal || v.bare }

// shown is how many of n periods are shown, oldest first.
func (v view) shown(n int) int {
	switch {
	case v.bare:
		return 0
	case v.oldest == 0:
		return n
	}
	return max(min(v.oldest, n-1), 0)
}

// visible is how many periods the subscription has at the moment.
func (c *chain) visible(now millis) int {
	n := 0
	for i := range c.transactions {
		if c.transactions[i].visible <= now {
			n++
		}
	}
	return n
}

// inApp is the list of the receipt, as it was when that was made.
func (q question) inApp() []*transaction {
	return q.seen(q.transactions(q.receipt.created))
}

// latestInfo is the list of what is true now.
func (q question) latestInfo() []*transaction {
	switch {
	case !q.excludeOld:
		return q.seen(q.transactions(q.now))
	case q.view == view{}:
		return q.latest(q.now)
	}
	all := q.seen(q.transactions(q.now))
	// The newest period of each subscription that is left, and what is none.
	newest := make(map[int64]*transaction)
	for _, t := range all {
		newest[t.originalID] = t
	}
	return slices.DeleteFunc(all, func(t *transaction) bool { return newest[t.originalID] != t })
}

// seen leaves of a list what the view shows.
func (q question) seen(all []*transaction) []*transaction {
	switch {
	case q.view.bare:
		return nil
	case q.view.oldest == 0:
		return all
	}
	hidden := make(map[int64]bool)
	for _, chain := range q.chains {
		for _, t := range chain.transactions[q.view.shown(chain.visible(q.now)):] {
			hidden[t.id] = true
		}
	}
	return slices.DeleteFunc(all, func(t *transaction) bool { return hidden[t.id] })
}

// newest is the newest period of a subscription that is shown; nil where none is.
func (q question) newest(c *chain) *transaction {
	if n := q.view.shown(c.visible(q.now)); n > 0 {
		return &c.transactions[n-1]
	}
	return nil
}
