package applesim

import "strconv"

// Period is the length of a subscription product's period.
type Period string

// The periods on sale. In the sandbox they last 3, 5 and 60 minutes.
// https://developer.apple.com/documentation/storekit/testing-an-auto-renewable-subscription
const (
	Weekly  Period = "weekly"
	Monthly Period = "monthly"
	Yearly  Period = "yearly"
)

func (p Period) end(from millis, sandbox bool) millis {
	if sandbox {
		return from + map[Period]millis{Weekly: 3 * minute, Monthly: 5 * minute, Yearly: hour}[p]
	}
	t := from.time()
	switch p {
	case Weekly:
		return at(t.AddDate(0, 0, 7))
	case Yearly:
		return at(t.AddDate(1, 0, 0))
	default:
		return at(t.AddDate(0, 1, 0))
	}
}

// The product types as attribute 1707 of a receipt numbers them.
const (
	nonConsumable = 0
	consumable    = 1
	autoRenewable = 3
)

// product is one in-app purchase on sale.
type product struct {
	id     string
	kind   int
	period Period // "" for a one-time purchase
	group  string // subscription_group_identifier
	// up and down are the neighbours in the group's order of service levels.
	// An upgrade never has a shorter period, so that the newest purchase is
	// also the one that expires last.
	up, down *product
}

// catalog is what one app sells: two groups of subscriptions, one thing to
// keep and one to use up.
type catalog struct {
	App
	number   int64 // adam_id and app_item_id
	groups   [2]map[Period]*product
	keepsake *product
	coins    *product
}

func newCatalog(app App, index int) *catalog {
	number := int64(1_400_000_000 + index)
	c := &catalog{
		App:      app,
		number:   number,
		keepsake: &product{id: app.BundleID + ".everything", kind: nonConsumable},
		coins:    &product{id: app.BundleID + ".coins", kind: consumable},
	}
	for i, name := range []string{"plus", "audio"} {
		c.groups[i] = newGroup(app.BundleID+"."+name, strconv.Itoa(20_700_000+2*index+i))
	}
	return c
}

func newGroup(prefix, group string) map[Period]*product {
	sell := func(period Period) *product {
		return &product{id: prefix + "." + string(period), kind: autoRenewable, period: period, group: group}
	}
	week, month, year := sell(Weekly), sell(Monthly), sell(Yearly)
	week.up, month.up = month, year
	year.down, month.down = month, week
	return map[Period]*product{Weekly: week, Monthly: month, Yearly: year}
}
