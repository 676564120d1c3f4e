package relay

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/pc/pcrecv"
	"github.com/deltacdn/delta/internal/receive"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
)

// PullConfig sets up a [Pull].
type PullConfig struct {
	// Dialer carries the signaling. If nil, WHEP over HTTP.
	Dialer signal.Dialer
	// URL returns the WHEP endpoint of a stream at a server of the Directory. If nil,
	// the server's URL, with the stream's name as the last element of its path.
	URL func(server cdn.Entry, stream cdn.StreamID) string
	// Credential is the bearer token shown to the server. Empty: none.
	Credential string
	// SignalTimeout bounds the exchange of offer and answer. If zero, 10 s.
	SignalTimeout time.Duration
	// Silence is how long nothing may come before a session is given up. If zero, 5 s.
	Silence time.Duration
}

// A Pull is a [Fetcher] that plays streams from WHEP servers of any make, as a viewer
// does (draft-ietf-wish-whep): one audio and one video track, in whichever codec the
// server sends, without simulcast. Lost packets and keyframes are asked for by RTCP.
// Between nodes of Delta use [Link], which is faster and brings all layers.
//
// The session for each stream is a PeerConnection with a socket of its own. The methods
// may be called concurrently.
type Pull struct {
	node   *cdn.Node
	config PullConfig
}

// NewPull returns a fetcher for node.
func NewPull(node *cdn.Node, c PullConfig) *Pull {
	if c.Dialer == nil {
		c.Dialer = &whep.Client{}
	}
	if c.URL == nil {
		c.URL = func(server cdn.Entry, stream cdn.StreamID) string {
			return strings.TrimRight(server.URL, "/") + "/" + string(stream)
		}
	}
	if c.SignalTimeout <= 0 {
		c.SignalTimeout = 10 * time.Second
	}
	if c.Silence <= 0 {
		c.Silence = 5 * time.Second
	}
	return &Pull{node: node, config: c}
}

// Fetch implements [Fetcher]. It adds an input to s and feeds it until the server ends
// the session, nothing has come for Silence, the input is not wanted any more, or ctx
// ends, and says goodbye to the server (DELETE).
func (p *Pull) Fetch(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error {
	session, remote, err := p.connect(ctx, from, r, s)
	if err != nil {
		return err
	}
	defer session.Close()
	defer leave(ctx, remote) // ahead of the end of the connection
	watch := time.NewTicker(p.config.Silence / 4)
	defer watch.Stop()
	heard, packets := time.Now(), uint64(0)
	for {
		select {
		case <-session.Done():
			return session.Err()
		case <-ctx.Done():
			return ctx.Err()
		case now := <-watch.C:
			if n := session.Packets(); n != packets {
				heard, packets = now, n
			}
			if now.Sub(heard) > p.config.Silence {
				session.End(p.fail(from, r, cdn.ErrTimeout))
			}
		}
	}
}

func (p *Pull) fail(from cdn.Entry, r cdn.Request, err error) error {
	return &cdn.Error{Op: "pull", Stream: r.Stream, Node: cdn.NodeID(from.URL), Err: err}
}

// connect makes an offer, and answers one that the server makes in place of an answer.
func (p *Pull) connect(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) (_ *pcrecv.Session, remote signal.RemoteSession, err error) {
	ctx, cancel := context.WithTimeout(signal.WithAddr(ctx, from.At), p.config.SignalTimeout)
	defer cancel()
	input, err := s.NewInput(cdn.InputConfig{Sender: cdn.SenderUnknown})
	if err != nil {
		return nil, nil, err
	}
	config := pcrecv.Config{Node: p.node, Input: input, Dial: true}
	session, err := pcrecv.Offer(ctx, config, func(ctx context.Context, offer string) (string, error) {
		remote, err = p.config.Dialer.Dial(ctx, p.config.URL(from, r.Stream), signal.Offer{
			Stream: r.Stream, SDP: offer, Credential: p.config.Credential,
		})
		if err != nil {
			return "", err
		}
		return remote.SDP(), nil
	})
	if counter := (*signal.CounterOffer)(nil); errors.As(err, &counter) {
		remote = counter.Session
		session, err = p.answer(ctx, config, counter.Session, s)
	}
	if err != nil {
		if remote != nil {
			leave(ctx, remote)
		}
		return nil, nil, p.fail(from, r, err)
	}
	return session, remote, nil
}

// answer takes an offer of the server's (draft-ietf-wish-whep, "406 Not Acceptable").
func (p *Pull) answer(ctx context.Context, c pcrecv.Config, remote signal.RemoteSession, s *cdn.Stream) (*pcrecv.Session, error) {
	plan, err := receive.Accept(remote.SDP(), nil)
	if err != nil {
		return nil, err
	}
	if c.Input, err = s.NewInput(c.Input.Config()); err != nil { // the one before was closed with the error
		return nil, err
	}
	if err := c.Input.Start(plan.Tracks); err != nil {
		c.Input.Close(err)
		return nil, err
	}
	session, err := pcrecv.Answer(ctx, c, plan)
	if err != nil {
		c.Input.Close(err)
		return nil, err
	}
	if err := remote.Accept(ctx, session.SDP()); err != nil {
		_ = session.Close()
		return nil, err
	}
	return session, nil
}
