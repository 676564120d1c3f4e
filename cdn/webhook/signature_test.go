package webhook_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/webhook"
)

// The example that Standard Webhooks' libraries are tested with.
func TestSignatureOfTheSpecification(t *testing.T) {
	key, err := webhook.ParseKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	at, body := time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)
	const id, want = "msg_p5jXN8AQM9LWM0D4loKWxJek", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	require.Equal(t, want, key.Sign(id, at, body))
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", "1614265330")
	h.Set("webhook-signature", "v1a,xyz "+want+" v2,abc")
	require.NoError(t, webhook.Verify("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", h, body, at))
	require.True(t, signedBy("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", h, body), "the test's own verification")
}

func TestVerify(t *testing.T) {
	key, err := webhook.ParseKey(secret)
	require.NoError(t, err)
	now, body := time.Unix(1_800_000_000, 0), []byte(`{"a":1}`)
	for _, tc := range []struct {
		name   string
		secret string
		change func(http.Header)
		at     time.Time
		body   string
		ok     bool
	}{
		{name: "as it was sent", ok: true},
		{name: "5 min later", at: now.Add(5 * time.Minute), ok: true},
		{name: "clock of the sender ahead", at: now.Add(-5 * time.Minute), ok: true},
		{name: "too old", at: now.Add(5*time.Minute + time.Second)},
		{name: "of the future", at: now.Add(-5*time.Minute - time.Second)},
		{name: "another secret", secret: otherKey},
		{name: "no secret", secret: "whsec_"},
		{name: "another body", body: `{"a":2}`},
		{name: "another id", change: func(h http.Header) { h.Set("Webhook-Id", "msg_2") }},
		{name: "another time", change: func(h http.Header) { h.Set("Webhook-Timestamp", "1800000001") }},
		{name: "id moved into the time", change: func(h http.Header) {
			h.Set("Webhook-Id", "msg")
			h.Set("Webhook-Timestamp", "1.1800000000")
		}},
		{name: "time of the same number", change: func(h http.Header) { h.Set("Webhook-Timestamp", "+1800000000") }},
		{name: "no time", change: func(h http.Header) { h.Del("Webhook-Timestamp") }},
		{name: "no id", change: func(h http.Header) { h.Del("Webhook-Id") }},
		{name: "no signature", change: func(h http.Header) { h.Del("Webhook-Signature") }},
		{name: "empty signature", change: func(h http.Header) { h.Set("Webhook-Signature", "v1,") }},
		{name: "another scheme", change: func(h http.Header) {
			h.Set("Webhook-Signature", strings.Replace(h.Get("Webhook-Signature"), "v1,", "v2,", 1))
		}},
		{name: "beside others", ok: true, change: func(h http.Header) {
			h.Set("Webhook-Signature", "v1,AAAA v9,? "+h.Get("Webhook-Signature"))
		}},
		{name: "behind a crowd", change: func(h http.Header) {
			h.Set("Webhook-Signature", strings.Repeat("v1,AAAA ", 1000)+h.Get("Webhook-Signature"))
		}},
		{name: "huge time", change: func(h http.Header) { h.Set("Webhook-Timestamp", strings.Repeat("9", 100)) }},
		{name: "least time", change: func(h http.Header) { h.Set("Webhook-Timestamp", "-9223372036854775808") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{}
			webhook.SetHeaders(h, "msg_1", now, body, key)
			if tc.change != nil {
				tc.change(h)
			}
			if tc.secret == "" {
				tc.secret = secret
			}
			if tc.at.IsZero() {
				tc.at = now
			}
			if tc.body == "" {
				tc.body = string(body)
			}
			err := webhook.Verify(tc.secret, h, []byte(tc.body), tc.at)
			if tc.ok {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, webhook.ErrSignature)
			}
		})
	}
}

// What is verified was signed: no other headers and body are.
func FuzzVerify(f *testing.F) {
	f.Add("msg_1", "1800000000", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", []byte("{}"))
	f.Add("", "-1", "v1, v1,", []byte{})
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature}}
		if err := webhook.Verify(secret, h, body, time.Unix(1_800_000_000, 0)); err == nil {
			require.True(t, signedBy(secret, h, body))
		} else {
			require.ErrorIs(t, err, webhook.ErrSignature)
		}
	})
}
