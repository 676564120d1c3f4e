package relay

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/once"
)

// A ticket is the credential of a node that fetches one stream without a link from another
// with which it shares a secret: the time at which it was made, a number used once, and a
// MAC over both and the stream. So the secret is not sent, and a ticket that is seen on
// the way cannot be used again, nor for another stream.
const (
	ticketPrefix = "delta-node."
	nonceLen     = 16
	ticketLen    = 8 + nonceLen + sha256.Size
	// ticketAge bounds the difference between a ticket's time and this node's: clocks differ.
	ticketAge = 2 * time.Minute
	// maxTickets bounds the used tickets that are remembered.
	maxTickets = 10_000
)

func newTicket(secret string, stream cdn.StreamID, now time.Time) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, ticketLen), uint64(now.Unix()))
	b = b[:8+nonceLen]
	_, _ = rand.Read(b[8:]) // it does not fail
	b = append(b, ticketMAC(secret, stream, b)...)
	return ticketPrefix + base64.RawURLEncoding.EncodeToString(b)
}

func ticketMAC(secret string, stream cdn.StreamID, b []byte) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte("delta fetch without a link\x00" + string(stream) + "\x00"))
	m.Write(b)
	return m.Sum(nil)
}

// tickets are those that were used. Its method may be called concurrently.
type tickets struct{ used once.Set }

func newTickets() *tickets {
	return &tickets{once.Set{For: 2 * ticketAge, Max: maxTickets}} // its time may lie in the future
}

// take reports whether a credential is a current ticket for a stream, made with the
// secret, that has not been used yet. It is used then.
func (t *tickets) take(secret string, stream cdn.StreamID, credential string, now time.Time) bool {
	text, ok := strings.CutPrefix(credential, ticketPrefix)
	b, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil || len(b) != ticketLen || secret == "" {
		return false
	}
	made := time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
	if !hmac.Equal(b[8+nonceLen:], ticketMAC(secret, stream, b[:8+nonceLen])) || now.Sub(made).Abs() > ticketAge {
		return false
	}
	return t.used.Take(now, once.Key(b[8:8+nonceLen]))
}
