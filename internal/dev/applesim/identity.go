package applesim

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// identity hides a customer's number in the opaque value of the receipt, which
// is 16 random looking bytes, so that the customer is found again from the
// receipt alone: after a restart, and without a table of all receipts.
type identity struct{ block cipher.Block }

const identityMark = 0x6170706c6573696d

func newIdentity(seed uint64) identity {
	key := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("identity of applesim"), seed))
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		panic(err) // 16 bytes are a key of AES
	}
	return identity{block}
}

func (id identity) hide(customer int) [aes.BlockSize]byte {
	var plain, opaque [aes.BlockSize]byte
	binary.BigEndian.PutUint64(plain[:8], identityMark)
	binary.BigEndian.PutUint64(plain[8:], uint64(customer))
	id.block.Encrypt(opaque[:], plain[:])
	return opaque
}

// reveal is the number that hide was given; false for any other bytes.
func (id identity) reveal(opaque []byte) (int, bool) {
	if len(opaque) != aes.BlockSize {
		return 0, false
	}
	var plain [aes.BlockSize]byte
	id.block.Decrypt(plain[:], opaque)
	number := binary.BigEndian.Uint64(plain[8:])
	return int(number), binary.BigEndian.Uint64(plain[:8]) == identityMark && number < 1<<40
}

// revealHex is reveal for the unique-identifier of a transaction receipt,
// which begins with the opaque bytes in hex.
func (id identity) revealHex(text string) (int, bool) {
	if len(text) < 2*aes.BlockSize {
		return 0, false
	}
	opaque, err := hex.DecodeString(text[:2*aes.BlockSize])
	if err != nil {
		return 0, false
	}
	return id.reveal(opaque)
}
