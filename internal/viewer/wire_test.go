package viewer_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"
)

// What is on the wire is read here by nothing but the standard library, from
// the RFCs: the DTLS-SRTP exporter (RFC 5705, RFC 5764), key derivation and
// AES-CM (RFC 3711), AES-GCM (RFC 7714).

// wire keeps what a node sends, and the secrets of its DTLS connections.
type wire struct {
	mu        sync.Mutex
	datagrams [][]byte
	secrets   bytes.Buffer
}

func (w *wire) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.secrets.Write(line)
}

func (w *wire) tap(p *place) {
	node := p.node.Addr().String()
	p.network.SetFilter(func(from, _ netip.AddrPort, data []byte) bool {
		if from.String() == node {
			w.mu.Lock()
			w.datagrams = append(w.datagrams, bytes.Clone(data))
			w.mu.Unlock()
		}
		return true
	})
}

// serverRandom is that of the ServerHello.
func (w *wire) serverRandom() []byte {
	const handshake, serverHello, recordHeader, messageHeader, version = 22, 2, 13, 12, 2
	for _, d := range w.datagrams {
		if len(d) > recordHeader+messageHeader+version+32 && d[0] == handshake && d[recordHeader] == serverHello {
			return d[recordHeader+messageHeader+version:][:32]
		}
	}
	return nil
}

// export derives n bytes of keying material for SRTP. The cipher suites that
// pion prefers all use SHA-256.
func (w *wire) export(t *testing.T, n int) []byte {
	fields := strings.Fields(w.secrets.String())
	require.GreaterOrEqual(t, len(fields), 3)
	require.Equal(t, "CLIENT_RANDOM", fields[0])
	client, err := hex.DecodeString(fields[1])
	require.NoError(t, err)
	master, err := hex.DecodeString(fields[2])
	require.NoError(t, err)
	seed := append([]byte("EXTRACTOR-dtls_srtp"), client...)
	seed = append(seed, w.serverRandom()...)
	mac := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, master)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	var out []byte
	for a := mac(seed); len(out) < n; a = mac(a) { // P_hash, RFC 5246 section 5
		out = append(out, mac(a, seed)...)
	}
	return out[:n]
}

// reader decrypts one direction of SRTP.
type reader struct {
	gcm     cipher.AEAD // nil: AES-CM
	block   cipher.Block
	auth    []byte // key of HMAC-SHA1
	salt    []byte
	highest map[uint32]uint64
}

func newReader(t *testing.T, gcm bool, master, salt []byte) *reader {
	padded := append(bytes.Clone(salt), make([]byte, 14-len(salt))...)
	derive := func(label byte, n int) []byte { // RFC 3711 section 4.3
		block, err := aes.NewCipher(master)
		require.NoError(t, err)
		iv := append(bytes.Clone(padded), 0, 0)
		iv[7] ^= label
		out := make([]byte, n)
		cipher.NewCTR(block, iv).XORKeyStream(out, out)
		return out
	}
	block, err := aes.NewCipher(derive(0, len(master)))
	require.NoError(t, err)
	r := &reader{block: block, auth: derive(1, 20), salt: derive(2, len(salt)), highest: make(map[uint32]uint64)}
	if gcm {
		r.gcm, err = cipher.NewGCM(block)
		require.NoError(t, err)
	}
	return r
}

// index extends a sequence number (RFC 3711 section 3.3.1).
func (r *reader) index(ssrc uint32, seq uint16) uint64 {
	last, known := r.highest[ssrc]
	if !known {
		last = uint64(seq)
	}
	index := uint64(int64(last) + int64(int16(seq-uint16(last))))
	r.highest[ssrc] = max(last, index)
	return index
}

func (r *reader) read(t *testing.T, packet []byte) (header, payload []byte) {
	n := 12 + 4*int(packet[0]&15)
	if packet[0]&0x10 != 0 {
		n += 4 + 4*int(binary.BigEndian.Uint16(packet[n+2:]))
	}
	ssrc := binary.BigEndian.Uint32(packet[8:])
	index := r.index(ssrc, binary.BigEndian.Uint16(packet[2:]))
	if r.gcm != nil {
		iv := make([]byte, 12)
		binary.BigEndian.PutUint32(iv[2:], ssrc)
		binary.BigEndian.PutUint32(iv[6:], uint32(index>>16))
		binary.BigEndian.PutUint16(iv[10:], uint16(index))
		xor(iv, r.salt)
		plain, err := r.gcm.Open(nil, iv, packet[n:], packet[:n])
		if err != nil {
			require.NoError(t, err, "index %d", index)
		}
		return packet[:n], plain
	}
	body, tag := packet[:len(packet)-10], packet[len(packet)-10:]
	mac := hmac.New(sha1.New, r.auth)
	mac.Write(body)
	mac.Write(binary.BigEndian.AppendUint32(nil, uint32(index>>16)))
	if want := mac.Sum(nil)[:10]; !bytes.Equal(want, tag) {
		require.Equal(t, want, tag, "index %d", index)
	}
	iv := make([]byte, 16)
	binary.BigEndian.PutUint32(iv[4:], ssrc)
	copy(iv[8:14], binary.BigEndian.AppendUint64(nil, index)[2:])
	xor(iv, r.salt)
	plain := make([]byte, len(body)-n)
	cipher.NewCTR(r.block, iv).XORKeyStream(plain, body[n:])
	return body[:n], plain
}

func xor(a, b []byte) {
	for i := range b {
		a[i] ^= b[i]
	}
}

// An independent reader finds on the wire what was published, in order, across
// the rollover of the sequence number.
func TestWire(t *testing.T) {
	for name, c := range map[string]struct {
		profile   dtls.SRTPProtectionProfile
		key, salt int
	}{
		"AES-128-GCM": {dtls.SRTP_AEAD_AES_128_GCM, 16, 12},
		"AES-256-GCM": {dtls.SRTP_AEAD_AES_256_GCM, 32, 12},
		"AES-CM":      {dtls.SRTP_AES128_CM_HMAC_SHA1_80, 16, 14},
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, func(t *testing.T, p *place) {
				w := &wire{}
				w.tap(p)
				p.seq = 1<<15 - 100 // a viewer's first number is no higher
				client, session := p.join("viewer", func(s *webrtc.SettingEngine) {
					s.SetSRTPProtectionProfiles(c.profile)
					s.SetDTLSKeyLogWriter(w)
				})
				p.ticks = 90 // a clock that agrees with time is reported seldom
				for range 1<<15 + 200 {
					p.frame()
					time.Sleep(time.Millisecond)
				}
				require.NoError(t, session.Close())
				require.NoError(t, client.GracefulClose())
				w.requireReadable(t, c.profile, c.key, c.salt)
			})
		})
	}
}

func (w *wire) requireReadable(t *testing.T, profile dtls.SRTPProtectionProfile, keyLen, saltLen int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	material := w.export(t, 2*(keyLen+saltLen))
	// Client key, server key, client salt, server salt (RFC 5764 section 4.2).
	r := newReader(t, profile != dtls.SRTP_AES128_CM_HMAC_SHA1_80, material[keyLen:2*keyLen], material[2*keyLen+saltLen:])
	sent := []byte{0x10, 0, 0, 0, 1, 2, 3}
	next, read := uint16(0), 0
	for _, d := range w.datagrams {
		if d[0]>>6 != 2 || d[1] >= 192 && d[1] < 224 {
			continue
		}
		header, payload := r.read(t, d)
		seq := binary.BigEndian.Uint16(header[2:])
		if read > 0 && seq != next { // an assertion for each packet would be much of the test's time
			require.Equal(t, next, seq, "in order")
		}
		next = seq + 1
		read++
		if !bytes.Equal(payload, sent) {
			require.Equal(t, sent, payload)
		}
	}
	require.Greater(t, read, 1<<15)
	require.Less(t, next, uint16(1000), "the number has rolled over")
}
