package dtlssrtp

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
)

// The labels of the keys for RTP packets, and for SRTCP (RFC 3711 section 4.3.2).
const (
	labelEncryption        = 0
	labelAuthentication    = 1
	labelSalt              = 2
	labelControlEncryption = 3
	labelControlSalt       = 5
)

// A master is a master key, from which the session keys are derived.
type master struct {
	block cipher.Block
	salt  [aes.BlockSize]byte
}

func newMaster(key, salt []byte) (*master, error) {
	m := &master{}
	if len(salt) > len(m.salt)-2 {
		return nil, fmt.Errorf("dtlssrtp: a master salt of %d bytes", len(salt))
	}
	copy(m.salt[:], salt) // a shorter one is padded (RFC 7714 section 11)
	block, err := aes.NewCipher(key)
	m.block = block
	return m, err
}

// derive returns n bytes of the key with a label (RFC 3711 section 4.3.3), which
// is never derived again.
func (m *master) derive(label byte, n int) []byte {
	iv := m.salt
	iv[7] ^= label
	out := make([]byte, n)
	cipher.NewCTR(m.block, iv[:]).XORKeyStream(out, out)
	return out
}
