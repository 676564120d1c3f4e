package relay

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/pc/pcrecv"
	"github.com/deltacdn/delta/internal/receive"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
)

// Prefix is the path below which a node's signaling URL serves other nodes.
const Prefix = "/link/"

// WHEPConfig sets up a [WHEP] fetcher.
type WHEPConfig struct {
	// Dialer carries the signaling. If nil, WHEP over HTTP.
	Dialer signal.Dialer
	// Credential is the bearer token shown to the other node. If empty, and the
	// node has a secret ([cdn.Trust]), a proof that it knows that; else none.
	Credential string
	// SignalTimeout bounds the exchange of offer and answer. If zero, 10 s.
	SignalTimeout time.Duration
	// Silence is how long a node may send nothing until its fetch is given up, unless it
	// ends the session itself when it has lost the stream. If zero, 5 s.
	Silence time.Duration
}

// WHEP is a [Fetcher] with a session for each stream, signaled as WHEP's
// server-offer flow: the node that has the stream offers it with all its
// tracks, layers and codecs as they are. Each session has a socket of its own.
type WHEP struct {
	node   *cdn.Node
	config WHEPConfig
}

// NewWHEP returns a fetcher for node.
func NewWHEP(node *cdn.Node, c WHEPConfig) *WHEP {
	if c.Dialer == nil {
		c.Dialer = &whep.Client{}
	}
	if c.SignalTimeout <= 0 {
		c.SignalTimeout = 10 * time.Second
	}
	if c.Silence <= 0 {
		c.Silence = 5 * time.Second
	}
	return &WHEP{node: node, config: c}
}

// Fetch implements [Fetcher].
func (w *WHEP) Fetch(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error {
	sub, remote, err := w.connect(ctx, from, r, s)
	if err != nil {
		return err
	}
	defer leave(ctx, remote)
	session := sub.session
	watch := time.NewTicker(min(w.config.Silence/4, lookAfter))
	defer watch.Stop()
	begun := time.Now()
	for {
		select {
		case <-session.Done():
			return session.Err()
		case <-ctx.Done():
			_ = session.Close()
			return ctx.Err()
		case now := <-watch.C:
			if sub.present(now, newest(s)) {
				continue
			}
			if at := newest(s); min(now.Sub(begun), now.Sub(at), now.Sub(sub.heard)) > w.config.Silence {
				session.End(&cdn.Error{Op: "fetch", Stream: r.Stream, Node: from.Node, Err: cdn.ErrTimeout})
			}
		}
	}
}

// An inbound subscription is one stream that is fetched without a link.
type inbound struct {
	session *pcrecv.Session
	input   *cdn.Input
	config  cdn.InputConfig // of the input, as it was told
	// watched: the other node ends the session when it has lost the stream; see
	// attrSender.
	watched bool
	answers uint64    // to our checks
	heard   time.Time // that there was one more
}

const (
	// lookAfter is how often a node that sends nothing is checked for being there. It is
	// gone when it has answered none of our connectivity checks for goneAfter: they go out
	// each second, and one may be lost.
	lookAfter = 500 * time.Millisecond
	goneAfter = 2200 * time.Millisecond
)

// present reports whether the other node is there and says that the stream's sender is,
// and updates the input. last is when media last came.
func (s *inbound) present(now, last time.Time) bool {
	if !s.watched {
		return false
	}
	if n := s.session.Answers(); n != s.answers {
		s.answers, s.heard = n, now
	}
	state := cdn.SenderPresent
	if now.Sub(last) > goneAfter && now.Sub(s.heard) > goneAfter {
		state = cdn.SenderUnknown
	}
	if s.config.Sender != state {
		s.config.Sender = state
		s.input.Update(s.config)
	}
	return state == cdn.SenderPresent
}

// connect gets the other node's offer and answers it.
func (w *WHEP) connect(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) (_ *inbound, _ signal.RemoteSession, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.config.SignalTimeout)
	defer cancel()
	ctx, span := w.node.Continue(ctx, "subscribe", cdn.Attr{Key: cdn.AttrPeer, Value: string(from.Node)}, cdn.Attr{Key: cdn.AttrURL, Value: from.URL})
	defer func() { span.End(err) }()
	credential := w.config.Credential
	if secret := w.node.Trust().Secret; credential == "" && secret != "" {
		credential = newTicket(secret, r.Stream, time.Now())
	}
	remote, err := w.config.Dialer.Dial(signal.WithAddr(ctx, from.At), strings.TrimSuffix(from.URL, "/")+Prefix+string(r.Stream), signal.Offer{
		Stream: r.Stream, Credential: credential, Node: w.node.ID(), Path: r.Path,
	})
	if err != nil {
		return nil, nil, err
	}
	sub, err := w.answer(ctx, remote, s)
	if err == nil {
		if err = remote.Accept(ctx, beginning(sub.session.SDP(), s)); err == nil {
			return sub, remote, nil
		}
		_ = sub.session.Close()
	}
	leave(ctx, remote)
	return nil, nil, &cdn.Error{Op: "fetch", Stream: r.Stream, Node: from.Node, Err: err}
}

// leave tells the other node to stop at once, ahead of its own timeout. ctx may have
// ended.
func leave(ctx context.Context, remote signal.RemoteSession) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = remote.Close(ctx)
}

func (w *WHEP) answer(ctx context.Context, remote signal.RemoteSession, s *cdn.Stream) (*inbound, error) {
	plan, err := receive.Accept(remote.SDP(), nil)
	if err != nil {
		return nil, err
	}
	c := describe(plan)
	if slices.Contains(c.Path, w.node.ID()) {
		return nil, cdn.ErrLoop // it has the stream from us
	}
	input, err := s.NewInput(c)
	if err != nil {
		return nil, err
	}
	known, _ := plan.Attribute(attrLayers)
	readFacts(known, input.Expect)
	if err := input.Start(plan.Tracks); err != nil {
		input.Close(err)
		return nil, err
	}
	session, err := pcrecv.Answer(ctx, pcrecv.Config{Node: w.node, Input: input, Dial: true, ByeEnds: true}, plan)
	if err != nil {
		input.Close(err) // which a session that was not made has not done
		return nil, err
	}
	return &inbound{session: session, input: input, config: c, watched: c.Sender == cdn.SenderPresent}, nil
}

func newest(s *cdn.Stream) (at time.Time) {
	for _, t := range s.Tracks() {
		for _, l := range t.Layers() {
			if p := l.Newest(); p != nil && p.Arrival.After(at) {
				at = p.Arrival
			}
		}
	}
	return at
}

// The session-level attributes by which a node says where a stream comes from.
const (
	attrPublication = "x-delta-publication"
	attrEpoch       = "x-delta-epoch"
	attrPath        = "x-delta-path"
	attrLayers      = "x-delta-layers" // what is known about them
	// attrSender says by senderWatched that the node ends the session once nobody has sent
	// it the stream for absentFor. So silence is no reason to leave it.
	attrSender    = "x-delta-sender"
	senderWatched = "watched"
)

// describe reads what the other node says about the stream. A server that is not of Delta
// says nothing, which is no failure.
func describe(p *receive.Plan) (c cdn.InputConfig) {
	c.Publication, _ = p.Attribute(attrPublication)
	epoch, _ := p.Attribute(attrEpoch)
	c.Epoch, _ = strconv.ParseUint(epoch, 10, 64)
	c.Sender = cdn.SenderUnknown
	if sender, _ := p.Attribute(attrSender); sender == senderWatched {
		c.Sender = cdn.SenderPresent
	}
	path, _ := p.Attribute(attrPath)
	for _, id := range strings.Fields(path) {
		c.Path = append(c.Path, cdn.NodeID(id))
	}
	return c
}

// describing adds to an offer what [describe] reads.
func describing(node cdn.NodeID, s *cdn.Stream) func(string) string {
	c, _ := s.Input()
	path := make([]string, 0, len(c.Path)+1)
	for _, id := range append(c.Path[:len(c.Path):len(c.Path)], node) {
		path = append(path, string(id))
	}
	lines := "a=" + attrPublication + ":" + c.Publication + "\r\n" +
		"a=" + attrEpoch + ":" + strconv.FormatUint(c.Epoch, 10) + "\r\n" +
		"a=" + attrPath + ":" + strings.Join(path, " ") + "\r\n" +
		"a=" + attrSender + ":" + senderWatched + "\r\n"
	if facts := writeFacts(s); facts != "" {
		lines += "a=" + attrLayers + ":" + facts + "\r\n"
	}
	return func(sdp string) string { return strings.Replace(sdp, "m=", lines+"m=", 1) }
}

// beginning asks the other node for everything since the newest keyframe, where nothing
// of the stream has come yet. Viewers that have seen some of it go on with what is live.
func beginning(answer string, s *cdn.Stream) string {
	if !newest(s).IsZero() {
		return answer
	}
	return strings.Replace(answer, "m=", catchUp+"m=", 1)
}

const catchUp = "a=x-delta-begin:catch-up\r\n"
