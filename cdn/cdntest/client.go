package cdntest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/transport/v5/stdnet"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/pc/setting"
	"github.com/deltacdn/delta/internal/udp/pionnet"
	"github.com/deltacdn/delta/signal"
)

// endTimeout bounds how long a client that ends waits for its server to answer.
const endTimeout = 5 * time.Second

// clientConfig is what publishers and viewers have in common.
type clientConfig struct {
	net         cdn.Network
	dialer      signal.Dialer
	url         string
	offer       signal.Offer
	certificate *webrtc.Certificate
	logger      logging.LoggerFactory
	tune        func(*webrtc.SettingEngine, *webrtc.MediaEngine, *interceptor.Registry) error
	tcp         bool // media goes by TCP
}

// A client is the connection of a publisher or viewer.
type client struct {
	dialer signal.Dialer
	url    string
	offer  signal.Offer

	pc     *webrtc.PeerConnection
	mute   *muteNet
	remote signal.RemoteSession // nil before negotiate has succeeded
	tcp    *Host                // from where the bridge connects; nil: media goes as pion has it
	bridge *tcpBridge           // nil: there is none

	connected, ended         chan struct{}
	connectedOnce, endedOnce sync.Once
}

// newClient makes a client's PeerConnection, which sends nothing yet.
func newClient(c clientConfig, codecs codecSet, interceptors ...interceptor.Factory) (*client, error) {
	if c.dialer == nil {
		return nil, errors.New("cdntest: no Dialer")
	}
	settings := webrtc.SettingEngine{LoggerFactory: c.logger}
	if c.logger == nil {
		settings.LoggerFactory = &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}
	}
	setting.WithoutMulticastDNS(&settings)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	var byTCP *Host
	if c.tcp {
		if n, ok := c.net.(hostNetwork); ok {
			byTCP = n.host
		} else {
			settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
		}
	}
	mute, err := c.network(&settings)
	if err != nil {
		return nil, err
	}
	settings.SetNet(mute)
	var media webrtc.MediaEngine
	if err := codecs.register(&media); err != nil {
		return nil, err
	}
	var registry interceptor.Registry
	for _, f := range interceptors {
		registry.Add(f)
	}
	if c.tune != nil {
		if err := c.tune(&settings, &media, &registry); err != nil {
			return nil, err
		}
	}
	config := webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle}
	if config.Certificates, err = c.certificates(); err != nil {
		return nil, err
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(&media),
		webrtc.WithInterceptorRegistry(&registry)).NewPeerConnection(config)
	if err != nil {
		return nil, err
	}
	cl := &client{
		dialer: c.dialer, url: c.url, offer: c.offer, pc: pc, mute: mute, tcp: byTCP,
		connected: make(chan struct{}), ended: make(chan struct{}),
	}
	pc.OnConnectionStateChange(cl.onState)
	return cl, nil
}

// network returns what the client's sockets come from. On the real network
// only the loopback address is used.
func (c clientConfig) network(s *webrtc.SettingEngine) (*muteNet, error) {
	switch n := c.net.(type) {
	case nil:
		std, err := stdnet.NewNet()
		if err != nil {
			return nil, err
		}
		s.SetIncludeLoopbackCandidate(true)
		s.SetIPFilter(net.IP.IsLoopback)
		return &muteNet{Net: std}, nil
	case hostNetwork:
		return &muteNet{Net: n.host.pion()}, nil
	default:
		return &muteNet{Net: pionnet.New(n)}, nil
	}
}

func (c clientConfig) certificates() ([]webrtc.Certificate, error) {
	if c.certificate != nil {
		return []webrtc.Certificate{*c.certificate}, nil
	}
	make := newCertificate
	if n, ok := c.net.(hostNetwork); ok {
		make = n.host.network.Certificate
	}
	cert, err := make()
	return []webrtc.Certificate{cert}, err
}

func (c *client) onState(s webrtc.PeerConnectionState) {
	switch s {
	case webrtc.PeerConnectionStateConnected:
		c.connectedOnce.Do(func() { close(c.connected) })
	case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
		c.endedOnce.Do(func() { close(c.ended) })
	default: // on the way to one of these
	}
}

// negotiate offers and takes the server's answer or, if invited, answers what
// the server offers. Candidates are gathered first, which takes no time: there
// are host candidates alone.
func (c *client) negotiate(ctx context.Context, invited bool) error {
	if invited {
		return c.acceptOffer(ctx)
	}
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	if c.offer.SDP, err = c.setLocal(ctx, offer); err != nil {
		return err
	}
	if c.remote, err = c.dialer.Dial(ctx, c.url, c.offer); err != nil {
		return err
	}
	answer := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: c.remote.SDP()}
	if c.tcp != nil {
		if c.bridge, answer.SDP, err = bridgeTCP(c.tcp, answer.SDP); err != nil {
			return err
		}
	}
	return c.pc.SetRemoteDescription(answer)
}

func (c *client) acceptOffer(ctx context.Context) error {
	var err error
	if c.remote, err = c.dialer.Dial(ctx, c.url, c.offer); err != nil {
		return err
	}
	offer := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: c.remote.SDP()}
	if err := c.pc.SetRemoteDescription(offer); err != nil {
		return err
	}
	answer, err := c.pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	sdp, err := c.setLocal(ctx, answer)
	if err != nil {
		return err
	}
	return c.remote.Accept(ctx, sdp)
}

func (c *client) setLocal(ctx context.Context, d webrtc.SessionDescription) (string, error) {
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(d); err != nil {
		return "", err
	}
	select {
	case <-gathered:
		return c.pc.LocalDescription().SDP, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// waitConnected waits until media can flow.
func (c *client) waitConnected(ctx context.Context) error {
	select {
	case <-c.connected:
		return nil
	case <-c.ended:
		return fmt.Errorf("cdntest: connection is %v: %w", c.pc.ConnectionState(), cdn.ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave tells the server that the session is over.
func (c *client) leave(ctx context.Context) error {
	if c.remote == nil {
		return nil
	}
	return c.remote.Close(ctx)
}

// close closes the PeerConnection and waits for its goroutines.
func (c *client) close() error {
	err := c.pc.GracefulClose()
	if c.bridge != nil {
		c.bridge.close()
	}
	c.endedOnce.Do(func() { close(c.ended) })
	return err
}
