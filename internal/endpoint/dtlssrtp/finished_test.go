package dtlssrtp

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/dtls/v3/pkg/crypto/prf"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/logging"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/endpoint/certificate"
)

// The handshake messages that a client sends or reads (RFC 5246 section 7.4).
const (
	serverKeyExchange = 12
	serverHelloDone   = 14
	certificateType   = 11
	clientKeyExchange = 16
	certificateVerify = 15
	finished          = 20
)

// A handmade client does the handshake of DTLS 1.2 by TLS_ECDHE_ECDSA_WITH_AES_
// 128_GCM_SHA256 with the extended master secret, flight by flight, on a path that
// loses nothing. Unlike a library it can be made to lie.
type handmade struct {
	t          *testing.T
	cert       tls.Certificate
	key        *ecdh.PrivateKey
	random     []byte
	transcript []byte // of the handshake: whole messages with their headers
	messages   uint16 // that it sent
	records    uint64 // that it sent in epoch 0
}

func newHandmade(t *testing.T, cert tls.Certificate) *handmade {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	return &handmade{t: t, cert: cert, key: key, random: []byte(rand.Text() + rand.Text())[:32]}
}

// hello is the first flight.
func (c *handmade) hello() []byte {
	extensions := slices.Concat(
		[]byte{0, 10, 0, 4, 0, 2, 0, 29},     // supported_groups: x25519
		[]byte{0, 11, 0, 2, 1, 0},            // ec_point_formats: uncompressed
		[]byte{0, 13, 0, 4, 0, 2, 4, 3},      // signature_algorithms: ecdsa_secp256r1_sha256
		[]byte{0, 14, 0, 5, 0, 2, 0, 7, 0},   // use_srtp: SRTP_AEAD_AES_128_GCM
		[]byte{0, 23, 0, 0, 255, 1, 0, 1, 0}, // extended_master_secret, renegotiation_info
	)
	body := slices.Concat([]byte{0xfe, 0xfd}, c.random,
		[]byte{0, 0},             // no session, no cookie
		[]byte{0, 2, 0xc0, 0x2b}, // the cipher suite
		[]byte{1, 0},             // no compression
		binary.BigEndian.AppendUint16(nil, uint16(len(extensions))), extensions)
	return c.message(clientHello, body)
}

// message returns the record of a handshake message, which it notes.
func (c *handmade) message(kind byte, body []byte) []byte {
	m := c.noted(kind, body)
	return c.record(handshakeRecord, m)
}

// noted returns a handshake message, and notes it.
func (c *handmade) noted(kind byte, body []byte) []byte {
	length := []byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}
	m := slices.Concat([]byte{kind}, length, binary.BigEndian.AppendUint16(nil, c.messages), []byte{0, 0, 0}, length, body)
	c.messages++
	c.transcript = append(c.transcript, m...)
	return m
}

func (c *handmade) record(kind byte, content []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{kind, 0xfe, 0xfd}, c.records)
	c.records++
	return append(binary.BigEndian.AppendUint16(b, uint16(len(content))), content...)
}

// read notes the messages of a datagram from the server, by their kinds.
func (c *handmade) read(datagram []byte) map[byte][]byte {
	bodies := map[byte][]byte{}
	for len(datagram) > 0 {
		n := int(binary.BigEndian.Uint16(datagram[11:]))
		content := datagram[recordHeaderLen : recordHeaderLen+n]
		if datagram[0] == handshakeRecord {
			require.Equal(c.t, content[1:4], content[9:12], "a message in one piece")
			c.transcript = append(c.transcript, content...)
			bodies[content[0]] = content[handshakeHeaderLen:]
		}
		datagram = datagram[recordHeaderLen+n:]
	}
	return bodies
}

// answer is the flight that answers the server's: with verify_data as lie says, if
// it is not nil.
func (c *handmade) answer(serverRandom, keyExchange []byte, lie func(c *handmade, master, right []byte) []byte) [][]byte {
	t := c.t
	require.Equal(t, []byte{3, 0, 29, 32}, keyExchange[:4], "named_curve, x25519")
	peer, err := ecdh.X25519().NewPublicKey(keyExchange[4 : 4+32])
	require.NoError(t, err)
	secret, err := c.key.ECDH(peer)
	require.NoError(t, err)

	der := c.cert.Certificate[0]
	n, all := len(der), len(der)+3
	flight := [][]byte{
		c.message(certificateType, append([]byte{0, byte(all >> 8), byte(all), 0, byte(n >> 8), byte(n)}, der...)),
		c.message(clientKeyExchange, append([]byte{32}, c.key.PublicKey().Bytes()...)),
	}
	session := sha256.Sum256(c.transcript)
	master, err := prf.ExtendedMasterSecret(secret, session[:], sha256.New)
	require.NoError(t, err)
	sig, err := c.cert.PrivateKey.(crypto.Signer).Sign(rand.Reader, session[:], crypto.SHA256)
	require.NoError(t, err)
	flight = append(flight,
		c.message(certificateVerify, append([]byte{4, 3, byte(len(sig) >> 8), byte(len(sig))}, sig...)),
		c.record(20, []byte{1})) // ChangeCipherSpec

	verify, err := prf.VerifyDataClient(master, c.transcript, sha256.New)
	require.NoError(t, err)
	if lie != nil {
		verify = lie(c, master, verify)
	}
	keys, err := prf.GenerateEncryptionKeys(master, c.random, serverRandom, 0, 16, 4, sha256.New)
	require.NoError(t, err)
	return append(flight, c.seal(keys, c.noted(finished, verify)))
}

// seal returns the first record of epoch 1 (RFC 5288 section 3, RFC 6347 section 4.1.2.1).
func (c *handmade) seal(keys *prf.EncryptionKeys, content []byte) []byte {
	block, err := aes.NewCipher(keys.ClientWriteKey)
	require.NoError(c.t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(c.t, err)
	number := []byte{0, 1, 0, 0, 0, 0, 0, 0}
	additional := slices.Concat(number, []byte{handshakeRecord, 0xfe, 0xfd}, binary.BigEndian.AppendUint16(nil, uint16(len(content))))
	sealed := aead.Seal(nil, slices.Concat(keys.ClientWriteIV, number), content, additional)
	length := binary.BigEndian.AppendUint16(nil, uint16(len(number)+len(sealed)))
	return slices.Concat([]byte{handshakeRecord, 0xfe, 0xfd}, number, length, number, sealed)
}

// handshakeWith has our server shake hands with a client that lies.
func handshakeWith(t *testing.T, lie func(c *handmade, master, right []byte) []byte) (*dtls.Conn, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, client := selfSigned(t), selfSigned(t)
	datagrams := make(chan []byte, 64)
	p := NewPipe(func(datagram []byte) error {
		datagrams <- slices.Clone(datagram)
		return nil
	})
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	c := newHandmade(t, client)
	go func() {
		p.Put(c.hello())
		bodies := map[byte][]byte{}
		for bodies[serverHelloDone] == nil {
			select {
			case d := <-datagrams:
				for kind, body := range c.read(d) {
					bodies[kind] = body
				}
			case <-ctx.Done():
				return
			}
		}
		for _, record := range c.answer(bodies[2][2:34], bodies[serverKeyExchange], lie) {
			p.Put(record)
		}
	}()
	conn, err := Handshake(ctx, p, Config{
		Certificate: server, Peer: []certificate.Hash{hashOf(t, client)}, Log: logging.NewDefaultLoggerFactory(),
	})
	require.NoError(t, ctx.Err(), "somebody has to decide, and not time")
	return conn, err
}

func selfSigned(t testing.TB) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert, err := selfsign.SelfSign(key)
	require.NoError(t, err)
	return cert
}

func hashOf(t testing.TB, cert tls.Certificate) certificate.Hash {
	parsed, err := x509.ParseCertificate(cert.Certificate[0])
	require.NoError(t, err)
	print, err := fingerprint.Fingerprint(parsed, crypto.SHA256)
	require.NoError(t, err)
	h, err := certificate.ParseHash("sha-256 " + print)
	require.NoError(t, err)
	return h
}

// A client whose Finished says what was agreed on is let in.
func TestFinished(t *testing.T) {
	conn, err := handshakeWith(t, nil)
	require.NoError(t, err)
	_, err = Export(conn, false)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

// One whose Finished says anything else is refused (RFC 5246 section 7.4.9: "a
// Finished message that is not verified correctly" is fatal): what was negotiated
// may have been changed on the way.
func TestWrongFinished(t *testing.T) {
	for name, lie := range map[string]func(c *handmade, master, right []byte) []byte{
		"zeros":   func(_ *handmade, _, right []byte) []byte { return make([]byte, len(right)) },
		"one bit": func(_ *handmade, _, right []byte) []byte { right[11] ^= 1; return right },
		"short":   func(_ *handmade, _, right []byte) []byte { return right[:11] },
		"long":    func(_ *handmade, _, right []byte) []byte { return append(right, 0) },
		"nothing": func(*handmade, []byte, []byte) []byte { return nil },
		"the server's": func(c *handmade, master, _ []byte) []byte {
			verify, err := prf.VerifyDataServer(master, c.transcript, sha256.New)
			require.NoError(c.t, err)
			return verify
		},
		"of another transcript": func(c *handmade, master, _ []byte) []byte {
			other := slices.Clone(c.transcript)
			other[len(other)-1] ^= 1
			verify, err := prf.VerifyDataClient(master, other, sha256.New)
			require.NoError(c.t, err)
			return verify
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := handshakeWith(t, lie)
			require.Error(t, err)
			require.Nil(t, conn)
		})
	}
}
