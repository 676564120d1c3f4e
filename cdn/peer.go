package cdn

import (
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/internal/service"
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

// newPeerConnection makes a PeerConnection on the node's network with the
// node's certificate and settings. The caller owns it.
func (n *Node) newPeerConnection(o service.PeerOptions) (*webrtc.PeerConnection, error) {
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
		n.transport.port.Kick() // its checks are not to wait
	}
	api := webrtc.NewAPI(
		webrtc.WithSettingEngine(settings),
		webrtc.WithMediaEngine(o.Media),
		webrtc.WithInterceptorRegistry(registry),
	)
	return api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{n.transport.cert}})
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
