package applesim

import (
	"crypto/rsa"
	"encoding/binary"
	"math/big"
	"math/rand/v2"
)

// primes makes RSA keys from a seed. crypto/rsa no longer can: since Go 1.26
// it ignores the source of randomness that it is given. Such keys protect
// nothing, and are not meant to.
type primes struct {
	random *rand.ChaCha8
	small  *big.Int // the product of the small primes
}

const (
	keyBits   = 2048
	publicExp = 65537
)

func newPrimes(seed uint64) *primes {
	var key [32]byte
	copy(key[:], "signing keys of applesim")
	binary.BigEndian.PutUint64(key[24:], seed)
	small := big.NewInt(1)
	for n := int64(3); n < 1500; n += 2 {
		if candidate := big.NewInt(n); candidate.ProbablyPrime(0) {
			small.Mul(small, candidate)
		}
	}
	return &primes{random: rand.NewChaCha8(key), small: small}
}

// prime is the next prime of half a key's length that is fit for publicExp.
func (p *primes) prime() *big.Int {
	bytes := make([]byte, keyBits/16)
	_, _ = p.random.Read(bytes) // never fails
	bytes[0] |= 0xc0            // so that the product of two has the full length
	bytes[len(bytes)-1] |= 1
	one, two := big.NewInt(1), big.NewInt(2)
	for n := new(big.Int).SetBytes(bytes); ; n.Add(n, two) {
		// Most candidates fall to a small factor, which costs far less to
		// find than a test of primality.
		if new(big.Int).GCD(nil, nil, n, p.small).Cmp(one) != 0 || !n.ProbablyPrime(0) {
			continue
		}
		less := new(big.Int).Sub(n, one)
		if new(big.Int).GCD(nil, nil, less, big.NewInt(publicExp)).Cmp(one) == 0 {
			return n
		}
	}
}

func (p *primes) key() (*rsa.PrivateKey, error) {
	a, b := p.prime(), p.prime()
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(a, one), new(big.Int).Sub(b, one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(a, b), E: publicExp},
		D:         new(big.Int).ModInverse(big.NewInt(publicExp), phi),
		Primes:    []*big.Int{a, b},
	}
	key.Precompute()
	return key, key.Validate()
}
