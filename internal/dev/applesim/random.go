package applesim

import "math/rand/v2"

// The streams of randomness of one customer. Each part of a life draws from
// its own, so that looking further ahead in one never changes another.
const (
	streamTraits = iota + 1
	streamOrder
	streamBlobs
	streamPurchases
	streamChains // and above: one for each chain

	streamCrowd = 1000
	streamOffer = 1001
	streamMore  = 1002
	streamShare = 1003
)

// newRandom is the generator of one stream of one customer. It is the same on
// every call and every machine.
func newRandom(seed uint64, customer int, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(mixBits(seed+uint64(customer)), mixBits(stream^seed)))
}

// mixBits is the finalizer of SplitMix64: neighbouring inputs give unrelated
// outputs. https://prng.di.unimi.it/splitmix64.c
func mixBits(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// chance maps a hash of its arguments to [0, 1).
func chance(parts ...uint64) float64 {
	var hash uint64
	for _, part := range parts {
		hash = mixBits(hash ^ part)
	}
	return float64(hash>>11) / (1 << 53)
}
