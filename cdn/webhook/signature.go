package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed request, as Standard Webhooks names them.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// Tolerance is how much a timestamp may differ from the receiver's clock.
const Tolerance = 5 * time.Minute

const (
	secretPrefix    = "whsec_"
	signatureScheme = "v1"
	minSecret       = 24 // bytes, as the specification says
	maxSecret       = 64
	maxSignatures   = 16 // that are looked at
)

// ErrSignature says that a request was not signed with the secret, or not lately.
var ErrSignature = errors.New("webhook signature")

// A Key signs requests, and verifies them. Its methods may be called concurrently.
type Key struct{ secret []byte }

// ParseKey reads a secret: base64 of 24 to 64 bytes, with "whsec_" in front or not. An
// error does not repeat it.
func ParseKey(secret string) (Key, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		return Key{}, errors.New("the secret is not of base64")
	}
	if len(key) < minSecret || len(key) > maxSecret {
		return Key{}, fmt.Errorf("the secret has %d bytes, %d to %d are allowed", len(key), minSecret, maxSecret)
	}
	return Key{key}, nil
}

// Sign returns the signature of a message that is sent at a time: its scheme, a comma
// and base64.
func (k Key) Sign(id string, at time.Time, body []byte) string {
	return signatureScheme + "," + base64.StdEncoding.EncodeToString(k.sum(id, strconv.FormatInt(at.Unix(), 10), body))
}

func (k Key) sum(id, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write([]byte(id + "." + timestamp + "."))
	h.Write(body)
	return h.Sum(nil)
}

// SetHeaders signs a request with all the keys, of which a receiver needs to know one:
// so a secret can be replaced without a gap.
func SetHeaders(h http.Header, id string, at time.Time, body []byte, keys ...Key) {
	signatures := make([]string, len(keys))
	for i, key := range keys {
		signatures[i] = key.Sign(id, at, body)
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(HeaderSignature, strings.Join(signatures, " "))
}

// Verify reports, for a receiver, whether a request with these headers and this body
// was signed with the secret, within [Tolerance] of now. It does not see a message
// that comes again: its "Webhook-Id" tells that. Errors wrap [ErrSignature].
func Verify(secret string, h http.Header, body []byte, now time.Time) error {
	key, err := ParseKey(secret)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	id, timestamp := h.Get(HeaderID), h.Get(HeaderTimestamp)
	if id == "" || timestamp == "" || h.Get(HeaderSignature) == "" {
		return fmt.Errorf("%w: a header is missing", ErrSignature)
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: the timestamp is no number", ErrSignature)
	}
	if d := now.Unix() - seconds; d > int64(Tolerance/time.Second) || d < -int64(Tolerance/time.Second) {
		return fmt.Errorf("%w: the timestamp is too far from now", ErrSignature)
	}
	want := key.sum(id, timestamp, body)
	for i, signature := range strings.Fields(h.Get(HeaderSignature)) {
		if i == maxSignatures {
			break
		}
		scheme, text, _ := strings.Cut(signature, ",")
		got, err := base64.StdEncoding.DecodeString(text)
		if err == nil && scheme == signatureScheme && hmac.Equal(got, want) {
			return nil
		}
	}
	return fmt.Errorf("%w: none fits", ErrSignature)
}
