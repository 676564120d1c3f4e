package dtlssrtp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"hash"
)

// A counterMode seals with AES in counter mode and HMAC-SHA1 (RFC 3711 sections
// 4.1.1 and 4.2.1), which is for those who know nothing better.
type counterMode struct {
	block cipher.Block
	mac   hash.Hash
	salt  [2]uint64
	// Of the packet; variables of seal would be allocated.
	counter [aes.BlockSize]byte
	sum     [sha1.Size]byte
}

// tagSize is how much of the HMAC is sent.
const tagSize = 10

func newCounterMode(key, salt []byte) (*counterMode, error) {
	master, err := newMaster(key, salt)
	if err != nil {
		return nil, err
	}
	c := &counterMode{mac: hmac.New(sha1.New, master.derive(labelAuthentication, sha1.Size))}
	padded := append(master.derive(labelSalt, len(salt)), 0, 0)
	c.salt = [2]uint64{binary.BigEndian.Uint64(padded), binary.BigEndian.Uint64(padded[8:])}
	c.block, err = aes.NewCipher(master.derive(labelEncryption, len(key)))
	return c, err
}

func (c *counterMode) seal(header []byte, ssrc uint32, index uint64, payload []byte) []byte {
	packet := header[:len(header)+len(payload)]
	c.encrypt(packet[len(header):cap(packet)], ssrc, index, payload)
	c.mac.Reset()
	_, _ = c.mac.Write(packet)
	binary.BigEndian.PutUint32(c.counter[:], uint32(index>>16))
	_, _ = c.mac.Write(c.counter[:4])
	return append(packet, c.mac.Sum(c.sum[:0])[:tagSize]...)
}

// encrypt writes the key stream, in whole blocks, to where the payload goes. The
// last two bytes of the counter, which are zero in the salt, count the blocks.
func (c *counterMode) encrypt(to []byte, ssrc uint32, index uint64, payload []byte) {
	binary.BigEndian.PutUint64(c.counter[:], c.salt[0]^uint64(ssrc))
	first := c.salt[1] ^ index<<16
	for n := 0; n < len(payload); n += aes.BlockSize {
		binary.BigEndian.PutUint64(c.counter[8:], first+uint64(n/aes.BlockSize))
		c.block.Encrypt(to[n:n+aes.BlockSize], c.counter[:])
	}
	subtle.XORBytes(to, to, payload)
}

// overhead is the tag, and the rest of the last block.
func (c *counterMode) overhead() int { return tagSize + aes.BlockSize - 1 }
