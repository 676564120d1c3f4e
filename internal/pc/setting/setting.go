// Package setting sets up pion's PeerConnections: those of a node, and those of Delta's own
// clients. It is a leaf, so that package cdn can import it.
package setting

import (
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/transport/v5"
	"github.com/pion/webrtc/v4"
)

// ICE timing of every session. A client that is gone without a word is noticed
// after disconnectedAfter + failedAfter.
const (
	disconnectedAfter = 4 * time.Second
	failedAfter       = 6 * time.Second
	keepaliveInterval = time.Second
)

// replayWindow is how many packets behind the newest one are accepted. A
// repair that does not come by RTX has its old number: pion's 64 would refuse
// it at any speed.
const replayWindow = 2048

// receiveMTU is the longest packet taken.
const receiveMTU = 1500

// Node returns the settings of a node's PeerConnections. With a mux, clients come to the
// node's port, where it is an ICE-lite agent (RFC 8445 section 2.5). Without one it reaches
// out to another server, from a socket of its own and as a full agent.
func Node(network transport.Net, log logging.LoggerFactory, mux *Mux) webrtc.SettingEngine {
	s := webrtc.SettingEngine{LoggerFactory: log}
	s.SetNet(network)
	WithoutMulticastDNS(&s)
	s.SetICETimeouts(disconnectedAfter, failedAfter, keepaliveInterval)
	s.SetIncludeLoopbackCandidate(true)
	s.SetReceiveMTU(receiveMTU)
	s.SetSRTPReplayProtectionWindow(replayWindow)
	// AES-128-GCM is a fifth cheaper than AES-256-GCM and a sixth of AES-CM.
	s.SetSRTPProtectionProfiles(
		dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	// ICE has proved the client's address before DTLS begins, so the cookie
	// exchange would prove it a second time, for a round trip.
	s.SetDTLSInsecureSkipHelloVerify(true)
	if mux != nil {
		s.SetLite(true)
		s.SetICEUDPMux(mux)
	}
	return s
}

// WithoutMulticastDNS has addresses offered as they are, and no names resolved: what a
// client in this process, or on a network in memory, has no use for.
func WithoutMulticastDNS(s *webrtc.SettingEngine) {
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
}
