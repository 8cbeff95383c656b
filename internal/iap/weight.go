package iap

// What facts hold for each value, and what Derive and its result take, in bytes.
const (
	recordBytes     = 52 // packed, and its place in the order
	originBytes     = 100
	kindBytes       = 500
	textIDBytes     = 100
	renewalBytes    = 300
	chainBytes      = 1000 // with its Subscription
	purchaseBytes   = 260
	revocationBytes = 250 // with what is known of its period
)

// Weight is about how many bytes of memory the facts hold and Derive needs, apart
// from the texts; of at most so many subscriptions, purchases and revocations. It
// costs nothing, so that it can be asked for after each record.
func (f *Facts) Weight(subscriptions, purchases, revocations int) int64 {
	s := &f.sightings
	origins := len(s.origins.values)
	return int64(s.n)*recordBytes + int64(origins)*originBytes + int64(len(s.kinds.values))*kindBytes +
		int64(len(s.ids.values))*textIDBytes + int64(len(f.renewals))*renewalBytes +
		int64(min(subscriptions, origins))*chainBytes + int64(purchases)*purchaseBytes + int64(revocations)*revocationBytes
}
