package cdn

import (
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/internal/pc/setting"
	"github.com/deltacdn/delta/internal/service"
)

// newPeerConnection makes a PeerConnection on the node's network with the
// node's certificate and settings. The caller owns it.
func (n *Node) newPeerConnection(o service.PeerOptions) (*webrtc.PeerConnection, error) {
	registry := o.Interceptors
	if registry == nil {
		registry = &interceptor.Registry{}
	}
	mux := n.transport.mux
	if o.Dial {
		mux = nil
	}
	settings := setting.Node(n.transport.net, pionLogger{n.log}, mux)
	if o.Publisher && n.config.Tune != nil {
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
