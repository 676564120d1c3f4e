package viewer_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"
)

// The cheapest profile that both have is chosen, whatever the viewer prefers.
func TestProfileIsOurChoice(t *testing.T) {
	const cm, gcm128, gcm256 = dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM
	for name, k := range map[string]struct {
		offered []dtls.SRTPProtectionProfile
		chosen  dtls.SRTPProtectionProfile
	}{
		"all":         {[]dtls.SRTPProtectionProfile{cm, gcm256, gcm128}, gcm128},
		"no 128":      {[]dtls.SRTPProtectionProfile{cm, gcm256}, gcm256},
		"nothing new": {[]dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_32, cm}, cm},
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, func(t *testing.T, p *place) {
				w := &wire{}
				w.tap(p)
				c, s := p.join("viewer", func(e *webrtc.SettingEngine) { e.SetSRTPProtectionProfiles(k.offered...) })
				require.NoError(t, s.Close())
				require.NoError(t, c.GracefulClose())
				require.Equal(t, k.chosen, w.profile())
			})
		})
	}
}

// profile is that of the ServerHello: an extension use_srtp (RFC 5764 section
// 4.1.1) of one profile and no MKI.
func (w *wire) profile() dtls.SRTPProtectionProfile {
	useSRTP := regexp.MustCompile(`(?s)\x00\x0e\x00\x05\x00\x02(.)(.)\x00`)
	for _, d := range w.datagrams {
		if m := useSRTP.FindSubmatch(d); m != nil && d[0] == 22 {
			return dtls.SRTPProtectionProfile(uint16(m[1][0])<<8 | uint16(m[2][0]))
		}
	}
	return 0
}

// A certificate may be named by longer hashes.
func TestLongFingerprints(t *testing.T) {
	line := regexp.MustCompile(`(?m)^a=fingerprint:.*\r\n`)
	for name, hash := range map[string]crypto.Hash{"sha-384": crypto.SHA384, "sha-512": crypto.SHA512} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, func(t *testing.T, p *place) {
				c := p.client("viewer", nil)
				text, err := c.GetConfiguration().Certificates[0].PEM()
				require.NoError(t, err)
				block, _ := pem.Decode([]byte(text))
				cert, err := x509.ParseCertificate(block.Bytes)
				require.NoError(t, err)
				print, err := fingerprint.Fingerprint(cert, hash)
				require.NoError(t, err)
				s, err := p.answer(line.ReplaceAllString(c.offer(t), "a=fingerprint:"+name+" "+print+"\r\n"))
				require.NoError(t, err)
				c.accept(t, s.SDP())
				p.frames(60)
				require.Positive(t, c.packets.Load())
				require.NoError(t, s.Close())
				require.NoError(t, c.GracefulClose())
			})
		})
	}
}

// A flight of ours that is lost costs little. The pace at which the viewer repeats
// its own is not ours to choose.
func TestLostFlights(t *testing.T) {
	const roundTrip, pace = 20 * time.Millisecond, time.Second
	connects := func(t *testing.T, p *place, lost func(ours bool, b []byte) bool) time.Duration {
		var mu sync.Mutex
		p.network.SetFilter(func(src, _ netip.AddrPort, b []byte) bool {
			mu.Lock()
			defer mu.Unlock()
			return b[0] < 20 || b[0] > 63 || !lost(src.Port() == 7000, b)
		})
		c := p.client("viewer", func(e *webrtc.SettingEngine) { e.SetDTLSRetransmissionInterval(pace) })
		connected := make(chan time.Time, 1)
		c.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
			if state == webrtc.PeerConnectionStateConnected {
				connected <- time.Now()
			}
		})
		s, err := p.answer(c.offer(t))
		require.NoError(t, err)
		begun := time.Now()
		c.accept(t, s.SDP())
		took := (<-connected).Sub(begun)
		require.NoError(t, s.Close())
		require.NoError(t, c.GracefulClose())
		return took
	}
	// first loses the flight that begins with a message of this kind, once: all
	// datagrams of the same moment.
	first := func(ours bool, begins func(b []byte) bool) func(bool, []byte) bool {
		var at time.Time
		return func(from bool, b []byte) bool {
			if from == ours && at.IsZero() && begins(b) {
				at = time.Now()
			}
			return from == ours && time.Now().Equal(at)
		}
	}
	message := func(kind byte) func(b []byte) bool {
		return func(b []byte) bool { return b[0] == 22 && len(b) > 13 && b[13] == kind }
	}
	changeCipher := func(b []byte) bool { return b[0] == 20 }
	for name, k := range map[string]struct {
		lost func(bool, []byte) bool
		most time.Duration
	}{
		"none":                      {func(bool, []byte) bool { return false }, 4 * roundTrip},
		"client hello":              {first(false, message(1)), 4*roundTrip + pace},
		"server hello":              {first(true, message(2)), 4*roundTrip + 150*time.Millisecond},
		"the client's certificate":  {first(false, message(11)), 4*roundTrip + pace}, // pion's client does not act on ours that is repeated
		"the server's last message": {first(true, changeCipher), 4*roundTrip + 150*time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, func(t *testing.T, p *place) {
				took := connects(t, p, k.lost)
				require.LessOrEqual(t, took, k.most)
				if name != "none" {
					require.Greater(t, took, 4*roundTrip)
				}
			})
		})
	}
}
