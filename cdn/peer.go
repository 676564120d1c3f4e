package cdn

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/internal/egress"
	"github.com/deltacdn/delta/internal/icecheck"
	"github.com/deltacdn/delta/internal/port"
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

// PeerOptions say what a PeerConnection is to be.
type PeerOptions struct {
	// Media holds the codecs and header extensions. Required; the
	// PeerConnection owns it afterwards.
	Media *webrtc.MediaEngine
	// Interceptors are what packets pass through. If nil, none.
	Interceptors *interceptor.Registry
	// Dial: this side reaches out to another server, from a socket of its own
	// and as a full ICE agent. Otherwise clients come to the node's port, where
	// it is an ICE-lite agent (RFC 8445 section 2.5).
	Dial bool
}

// NewPeerConnection makes a PeerConnection on the node's network with the
// node's certificate and settings, for services that are built on the node. The
// caller owns it.
func (n *Node) NewPeerConnection(o PeerOptions) (*webrtc.PeerConnection, error) {
	registry := o.Interceptors
	if registry == nil {
		registry = &interceptor.Registry{}
	}
	settings := n.settings(o.Dial)
	if n.config.Tune != nil {
		if err := n.config.Tune(&settings, o.Media, registry); err != nil {
			return nil, &Error{Op: "tune", Err: err}
		}
	}
	if !o.Dial {
		n.transport.port.Stir() // its checks are not to wait
	}
	api := webrtc.NewAPI(
		webrtc.WithSettingEngine(settings),
		webrtc.WithMediaEngine(o.Media),
		webrtc.WithInterceptorRegistry(registry),
	)
	return api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{n.transport.cert}})
}

// Tuned reports whether [Config].Tune is set, which only PeerConnections know of.
func (n *Node) Tuned() bool { return n.config.Tune != nil }

// Transport is the node's UDP port and certificate, for sessions of Delta's own
// that are no PeerConnection.
type Transport struct {
	Node *Node
	Port *port.Port
	// Reply, Checks and Arrivals are for the port's one reader: what it sends, and the
	// checks and the media that it reads.
	Reply       *egress.Batch
	Checks      *icecheck.Reader
	Arrivals    *Arrivals
	Certificate tls.Certificate
	Fingerprint string // of it, as in a=fingerprint
	// Candidates are the addresses under which clients reach the port.
	Candidates []net.Addr
}

// Transport returns what the node's sessions share.
func (n *Node) Transport() Transport {
	t := n.transport
	return Transport{
		Node: n, Port: t.port, Reply: t.reply, Checks: t.checks, Arrivals: &t.arrivals, Certificate: t.tls, Fingerprint: t.fingerprint, Candidates: t.mux.candidates,
	}
}

func (n *Node) settings(dial bool) webrtc.SettingEngine {
	s := webrtc.SettingEngine{LoggerFactory: pionLogger{n.log}}
	s.SetNet(n.transport.net)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
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
	if !dial {
		s.SetLite(true)
		s.SetICEUDPMux(n.transport.mux)
	}
	return s
}
