package iap

import "maps"

// Equal is for tests that compare conclusions: both tell the same of each period.
func (e Evidence) Equal(other Evidence) bool {
	return maps.Equal(e.periods(), other.periods())
}

// periods are those that the facts show, and whether they are paid for.
func (e Evidence) periods() map[string]bool {
	all := make(map[string]bool)
	if e.seen == nil {
		return all
	}
	for p := range e.seen.records() {
		id := e.seen.id(p.id)
		if shown, paid := e.shows(id, ""); shown {
			all[id] = paid
		}
	}
	return all
}
