package iap

import "cmp"

// combine makes one record of two that the same list shows: of each field the
// greater value, so that a refund, an extension or an upgrade that one of them
// knows is kept, and their order does not matter.
func (s *sightings) combine(a, b packed) packed {
	return packed{
		id:                 a.id,
		webOrderLineItemID: s.greater(a.webOrderLineItemID, b.webOrderLineItemID),
		purchaseDate:       max(a.purchaseDate, b.purchaseDate),
		expiresDate:        max(a.expiresDate, b.expiresDate),
		cancellation:       max(a.cancellation, b.cancellation),
		origin:             s.combineOrigins(a.origin, b.origin),
		kind:               s.combineKinds(a.kind, b.kind),
	}
}

func (s *sightings) greater(a, b idNumber) idNumber {
	if s.compare(a, b) < 0 {
		return b
	}
	return a
}

func (s *sightings) combineOrigins(i, j uint32) uint32 {
	a, b := s.origins.values[i], s.origins.values[j]
	return s.origins.number(origin{s.greater(a.id, b.id), a.purchaseDate.earlier(b.purchaseDate)})
}

func (s *sightings) combineKinds(i, j uint32) uint32 {
	a, b := s.kinds.values[i], s.kinds.values[j]
	return s.kinds.number(kind{
		productID:        max(a.productID, b.productID),
		group:            max(a.group, b.group),
		reason:           max(a.reason, b.reason),
		promotion:        max(a.promotion, b.promotion),
		offer:            max(a.offer, b.offer),
		token:            max(a.token, b.token),
		ownership:        max(a.ownership, b.ownership),
		quantity:         max(a.quantity, b.quantity),
		trial:            a.trial || b.trial,
		intro:            a.intro || b.intro,
		upgraded:         a.upgraded || b.upgraded,
		unreadableExpiry: a.unreadableExpiry || b.unreadableExpiry, unreadableCancellation: a.unreadableCancellation || b.unreadableCancellation,
		list: a.list,
	})
}

// fill completes what the fresher record lacks; either may be none. A refund
// that only the staler one knows is not filled in, because a refund can be
// reversed.
func (s *sightings) fill(fresh, stale packed) packed {
	switch {
	case fresh.id == 0:
		return stale
	case stale.id == 0:
		return fresh
	}
	return packed{
		id:                 fresh.id,
		webOrderLineItemID: cmp.Or(fresh.webOrderLineItemID, stale.webOrderLineItemID),
		purchaseDate:       fresh.purchaseDate.or(stale.purchaseDate),
		expiresDate:        fresh.expiresDate.or(stale.expiresDate),
		cancellation:       fresh.cancellation,
		origin:             s.fillOrigin(fresh.origin, stale.origin),
		kind:               s.fillKind(fresh.kind, stale.kind),
	}
}

func (s *sightings) fillOrigin(i, j uint32) uint32 {
	if i == j {
		return i
	}
	fresh, stale := s.origins.values[i], s.origins.values[j]
	return s.origins.number(origin{cmp.Or(fresh.id, stale.id), fresh.purchaseDate.earlier(stale.purchaseDate)})
}

func (s *sightings) fillKind(i, j uint32) uint32 {
	pair := [2]uint32{i, j}
	if known, ok := s.filled[pair]; ok {
		return known
	}
	fresh, stale := s.kinds.values[i], s.kinds.values[j]
	n := s.kinds.number(kind{
		productID:        cmp.Or(fresh.productID, stale.productID),
		group:            cmp.Or(fresh.group, stale.group),
		reason:           fresh.reason,
		promotion:        cmp.Or(fresh.promotion, stale.promotion),
		offer:            cmp.Or(fresh.offer, stale.offer),
		token:            cmp.Or(fresh.token, stale.token),
		ownership:        cmp.Or(fresh.ownership, stale.ownership),
		quantity:         cmp.Or(fresh.quantity, stale.quantity),
		trial:            fresh.trial || stale.trial,
		intro:            fresh.intro || stale.intro,
		upgraded:         fresh.upgraded || stale.upgraded,
		unreadableExpiry: fresh.unreadableExpiry || stale.unreadableExpiry, unreadableCancellation: fresh.unreadableCancellation,
		list: fresh.list,
	})
	if s.filled == nil {
		s.filled = make(map[[2]uint32]uint32)
	}
	s.filled[pair] = n
	return n
}
