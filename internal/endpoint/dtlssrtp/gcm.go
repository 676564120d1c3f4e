package dtlssrtp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// A gcm seals with AES-GCM (RFC 7714): the header is authenticated as it is, and
// the tag follows the payload.
type gcm struct {
	aead cipher.AEAD
	// salt is what the nonce is combined with: the first 4 bytes, and the others.
	salt4 uint32
	salt8 uint64
	nonce [12]byte // of the packet; a variable of seal would be allocated
}

func (g *gcm) init(key, salt []byte, encryption, salting byte) error {
	master, err := newMaster(key, salt)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(master.derive(encryption, len(key)))
	if err != nil {
		return err
	}
	s := master.derive(salting, len(g.nonce))
	g.salt4, g.salt8 = binary.BigEndian.Uint32(s), binary.BigEndian.Uint64(s[4:])
	g.aead, err = cipher.NewGCM(block)
	return err
}

func (g *gcm) seal(header []byte, ssrc uint32, index uint64, payload []byte) []byte {
	g.iv(ssrc, index)
	return g.aead.Seal(header, g.nonce[:], payload, header)
}

// iv makes the nonce: two bytes of zero, the SSRC, and the 48 bits of the index of
// an RTP packet, or in the last of these 6 bytes that of SRTCP (sections 8.1 and 9.1).
func (g *gcm) iv(ssrc uint32, index uint64) {
	binary.BigEndian.PutUint32(g.nonce[:], g.salt4^ssrc>>16)
	binary.BigEndian.PutUint64(g.nonce[4:], g.salt8^(uint64(ssrc)<<48|index&(1<<48-1)))
}

func (g *gcm) overhead() int { return g.aead.Overhead() }
