package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/jitter"
	"github.com/deltacdn/delta/internal/pc/pcsend"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whip"
)

// PushConfig sets up a [Push].
type PushConfig struct {
	// Source has the stream: an origin, or a relay that fetches it. Required.
	Source cdn.Source
	// Stream names it there. Required.
	Stream cdn.StreamID
	// URL is the WHIP endpoint that it is sent to, such as
	// "https://media.example.com/whip/channel". Required.
	URL string
	// Credential is the bearer token shown to the server. Empty: none.
	Credential string
	// Dialer carries the signaling. If nil, WHIP over HTTP.
	Dialer signal.Dialer
	// Layer names the simulcast layer that is sent, as [signal.Offer].Layer does.
	// Empty: the best, and a lower one while the server's feedback shows that it does
	// not get through.
	Layer string
	// Timeout bounds how long the stream may take to be ready, and then how long the
	// exchange of offer and answer. If zero, 10 s each.
	Timeout time.Duration
}

// A Push sends a stream on to a WHIP server of any make (RFC 9725), as a publisher
// would: to another service, or to another network of Delta. The server's requests for
// keyframes go to the publisher, and what it asks for again comes from what the node
// keeps. The methods may be called concurrently.
type Push struct {
	// static
	node   *cdn.Node
	config PushConfig
	chance *jitter.Source

	mu      sync.Mutex
	session *pcsend.Session // nil: none is connecting or connected
	since   time.Time       // when its media could flow; zero: not yet
	stats   PushStats       // of the sessions that are over
}

// PushStats is a snapshot of a [Push]. The counters never fall.
type PushStats struct {
	Connected bool   // media flows now
	Attempts  uint64 // to get a session at the server
	Sessions  uint64 // of these, with media
	Packets   uint64 // sent, repairs aside
	Bytes     uint64 // of payload in them
	Resent    uint64 // packets sent again
	Layer     string // of the video that is sent now
	RTT       time.Duration
	Loss      float64 // share of video packets, as the server last reported
	Err       error   // why the last attempt or session ended; nil: none has
}

// NewPush returns a Push for node. It does nothing until [Push.Run] is called.
func NewPush(node *cdn.Node, c PushConfig) (*Push, error) {
	id, err := cdn.ParseStreamID(string(c.Stream))
	switch {
	case err != nil:
	case c.Source == nil:
		err = fmt.Errorf("%w: no source", cdn.ErrInvalid)
	case c.URL == "":
		err = fmt.Errorf("%w: no URL", cdn.ErrInvalid)
	}
	if err != nil {
		return nil, &cdn.Error{Op: "new push", Stream: c.Stream, Err: err}
	}
	if c.Dialer == nil {
		c.Dialer = &whip.Client{}
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	return &Push{node: node, config: c, chance: jitter.New("push " + string(node.ID()) + " " + string(id) + " " + c.URL)}, nil
}

// The pauses between attempts double from the first to the last, and each is shortened
// by up to half.
const (
	firstPushPause = 500 * time.Millisecond
	lastPushPause  = 30 * time.Second
	// steadyPush is how long a session has to have lasted for the next pause to be the
	// first one again: a server may take a session and hang up at once, for ever.
	steadyPush = 10 * time.Second
)

// Run sends the stream until it ends, and returns why: an error that wraps
// [cdn.ErrEnded] if its publisher has ended it, or ctx's error. Where the server cannot
// be reached, ends the session, or is lost, Run connects again, after pauses that grow
// from half a second to 30 s, or as long as the server asks for. It gives up, with the
// server's error, where trying again is in vain: [cdn.ErrUnauthorized],
// [cdn.ErrForbidden] or [cdn.ErrNoCommonCodec]; and with [cdn.ErrNotFound] if the Source
// does not have the stream.
//
// When Run returns, the session at the server is deleted and no goroutine is left. One
// Run at a time may run.
func (p *Push) Run(ctx context.Context) error {
	sub, err := p.config.Source.Open(ctx, cdn.Request{Stream: p.config.Stream})
	if err != nil {
		return err
	}
	defer sub.Close()
	s := sub.Stream()
	if err := p.awaitReady(ctx, s); err != nil {
		return err
	}
	pause := firstPushPause
	for {
		lasted, err := p.send(ctx, s)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case s.Err() != nil:
			return s.Err()
		case isFinal(err):
			return err
		}
		if lasted >= steadyPush {
			pause = firstPushPause
		}
		wait := max(pause-p.chance.Below(pause/2), retryAfter(err))
		p.node.Logger().Warn("a stream is not pushed", "stream", string(p.config.Stream), "url", p.config.URL, "retry", wait, "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		case <-s.Done():
			return s.Err()
		}
		pause = min(2*pause, lastPushPause)
	}
}

func (p *Push) awaitReady(ctx context.Context, s *cdn.Stream) error {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	return s.Ready(ctx)
}

// isFinal reports whether an attempt that failed with err would fail again.
func isFinal(err error) bool {
	return errors.Is(err, cdn.ErrUnauthorized) || errors.Is(err, cdn.ErrForbidden) || errors.Is(err, cdn.ErrNoCommonCodec)
}

func retryAfter(err error) time.Duration {
	var e *cdn.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// send holds one session. It returns for how long media could flow, and why the session
// ended. The server is told ahead of the end of the connection, which it would take for a
// loss.
func (p *Push) send(ctx context.Context, s *cdn.Stream) (lasted time.Duration, err error) {
	session, remote, err := p.connect(ctx, s)
	if err == nil {
		select {
		case <-session.Done():
			leave(ctx, remote)
		case <-s.Done():
			leave(ctx, remote)
			session.End(s.Err())
		case <-ctx.Done():
			leave(ctx, remote)
			session.End(cdn.ErrLeft)
		}
		<-session.Done()
		err = session.Err()
	}
	return p.over(session, err), err
}

// connect makes an offer to the server.
func (p *Push) connect(ctx context.Context, s *cdn.Stream) (session *pcsend.Session, remote signal.RemoteSession, err error) {
	p.mu.Lock()
	p.stats.Attempts++
	p.mu.Unlock()
	asking, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	session, err = pcsend.Offer(asking, pcsend.Config{
		Config: send.Config{Layer: p.config.Layer, Start: send.Start{Mode: send.StartAsk}, Server: true},
		Node:   p.node, Stream: s, Connected: p.connected,
	}, func(ctx context.Context, offer string) (answer string, err error) {
		remote, err = p.config.Dialer.Dial(ctx, p.config.URL, signal.Offer{
			Stream: p.config.Stream, SDP: offer, Credential: p.config.Credential,
		})
		if err != nil {
			return "", err
		}
		return remote.SDP(), nil
	})
	if err != nil {
		if remote != nil {
			leave(ctx, remote)
		}
		return nil, nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session = session
	return session, remote, nil
}

// connected is called when media can flow.
func (p *Push) connected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Now()
	p.stats.Connected = true
	p.stats.Sessions++
}

// over notes that a session, nil if there was none, has ended, and returns for how long
// media could flow.
func (p *Push) over(session *pcsend.Session, err error) (lasted time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.since.IsZero() {
		lasted = time.Since(p.since)
	}
	p.since = time.Time{}
	if session != nil {
		p.stats.add(session.Stats())
	}
	p.session, p.stats.Connected, p.stats.Err = nil, false, err
	return lasted
}

// add adds what a session has sent.
func (st *PushStats) add(sent send.Stats) {
	st.Packets += sent.Packets
	st.Bytes += sent.Bytes
	st.Resent += sent.Resent
	st.Layer, st.RTT, st.Loss = sent.Layer, sent.RTT, sent.Loss
}

// Stats returns a snapshot.
func (p *Push) Stats() PushStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := p.stats
	if p.session != nil {
		st.add(p.session.Stats())
	}
	return st
}
