// Package lite is a viewer's session without a PeerConnection: an ICE-lite
// responder, a DTLS server and SRTP over the node's port, driven by the port's
// one reader and the node's workers. In steady state it has no goroutine, and
// DTLS is set aside until the goodbye.
package lite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/dtlssrtp"
	"github.com/deltacdn/delta/internal/icecheck"
	"github.com/deltacdn/delta/internal/negotiate"
	"github.com/deltacdn/delta/internal/send"
)

// Config says how a stream is sent to a viewer.
type Config struct {
	send.Config
	// Stream is ready. Nil: it is not known yet what it has, and comes by
	// [Session.Play].
	Stream    *cdn.Stream
	Transport cdn.Transport
	Log       logging.LoggerFactory
	// Watch ends the session if its viewer does not come or is gone. If nil, the
	// session has one of its own.
	Watch *Watch
	// Expires is when the session ends by itself. Zero: never.
	Expires time.Time
	// Ended is called once, when a session that was returned is over. It must
	// not block.
	Ended func(err error, sent send.Stats)
}

// A Session sends a stream to one viewer. It is a signal.Session. Its methods
// may be called concurrently.
type Session struct {
	// static
	id     string
	config Config
	remote remote
	cname  string
	begun  time.Time
	set    *send.Set
	media  writer // that Consume uses
	again  writer // that the port's reader uses
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	gone   chan struct{} // closed when the viewer has hung up
	hangUp func()
	work   sync.WaitGroup // the goroutines that handshake and read DTLS
	ssrcs  []uint32       // that the answer announces

	established atomic.Pointer[keys] // keys, for the port's reader, once there is all it needs

	mu         sync.Mutex
	stream     *cdn.Stream // nil before Play
	open       *open       // what was answered then; nil otherwise
	sdp        string
	ice        []icecheck.Credentials // the present ones first; those before a restart next
	candidates int                    // trickled in this ICE session
	restarts   rate                   // of ICE
	addr       netip.AddrPort
	paths      []*path // those checked last at the end
	asked      int     // our checks of addresses that have not answered, dropped ones too
	heard      time.Time
	pipe       *dtlssrtp.Pipe // where records go while DTLS is up; nil before and after
	keys       *keys          // nil before the handshake
	conn       *dtls.Conn
	frozen     bool  // conn is set aside as keys.state
	thaw       *thaw // conn made again for a moment; nil: it is not
	expiry     *time.Timer
	repeats    *time.Timer // nil before the handshake
	unwatch    func()
	detach     func()
	stopped    bool
	err        error
}

// open is an answer that leaves open what is sent: of each of the offer's
// sections that receive, all that could be.
type open struct {
	offer    *negotiate.Offer
	sections []*section
}

// video reports whether the answer says that there may be some.
func (o *open) video() bool {
	return slices.ContainsFunc(o.sections, func(s *section) bool { return s.media().Kind == cdn.Video })
}

// Answer starts a session for a viewer's offer. Errors wrap [cdn.ErrInvalid],
// [cdn.ErrNoCommonCodec], [cdn.ErrNotFound] for a layer that is not there, and
// [cdn.ErrUnsupported] for an offer that only a PeerConnection can answer, or
// that cannot be answered without a stream.
func Answer(c Config, offer string) (*Session, error) {
	if c.Watch == nil {
		c.Watch = &Watch{}
	}
	o, err := negotiate.Parse(offer)
	if err != nil {
		return nil, err
	}
	plan, err := planFor(o, c.Stream)
	if err != nil {
		return nil, err
	}
	r, err := readRemote(plan)
	if err != nil {
		return nil, err
	}
	s := &Session{
		id: rand.Text(), config: c, remote: r, cname: rand.Text()[:16], set: send.New(c.Config),
		done: make(chan struct{}), gone: make(chan struct{}), begun: time.Now(), stream: c.Stream,
	}
	s.heard, s.restarts = s.begun, rate{every: time.Minute / restartsPerMinute, burst: restartsPerMinute}
	s.hangUp = sync.OnceFunc(func() { close(s.gone) })
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.media, s.again = writer{session: s}, writer{session: s, batch: c.Transport.Reply}
	all := sections(plan)
	for _, one := range all {
		s.ssrcs = append(s.ssrcs, one.ssrc)
	}
	if c.Stream == nil {
		s.open = &open{o, all}
	} else if err := s.addLines(plan, all); err != nil {
		s.cancel()
		s.set.Close()
		return nil, err
	}
	cred, err := s.newCredentials()
	if err != nil {
		s.cancel()
		s.set.Close()
		return nil, err
	}
	s.ice = []icecheck.Credentials{cred}
	s.sdp = answer(plan.Offer, s.local(cred), all, s.cname)
	s.begin()
	return s, nil
}

func planFor(o *negotiate.Offer, stream *cdn.Stream) (*send.Plan, error) {
	if stream == nil {
		return send.PlanOpen(o)
	}
	return send.PlanAnswer(o, stream.Tracks())
}

// ErrNoVideo says that the viewer was promised video and there is none to send. A
// browser waits for the first picture and plays no sound before it, so it has to
// come again. It wraps [cdn.ErrTimeout]: the stream was not ready in time.
var ErrNoVideo = fmt.Errorf("%w: the answer was given before it was known that there is no video to send: try again", cdn.ErrTimeout)

// Play begins to send a stream, once, to a viewer who was answered before it was
// ready. It fails with the errors of [Answer] or with [ErrNoVideo]; then the
// session is to be ended.
func (s *Session) Play(stream *cdn.Stream) error {
	if err := s.play(stream); err != nil {
		return err
	}
	s.watch(stream)
	return nil
}

func (s *Session) play(stream *cdn.Stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return s.err
	}
	plan, err := send.PlanAnswer(s.open.offer, stream.Tracks())
	if err != nil {
		return err
	}
	if s.open.video() && !slices.ContainsFunc(plan.Lines, func(l *send.Line) bool { return l.Track.Info().Kind == cdn.Video }) {
		return ErrNoVideo
	}
	if err := s.addLines(plan, s.open.sections); err != nil {
		return err
	}
	s.stream, s.open = stream, nil
	s.set.Warm()
	if s.keys != nil {
		s.startLocked()
	}
	return nil
}

// addLines makes the senders of what is planned, in the sections of the answer.
func (s *Session) addLines(plan *send.Plan, sections []*section) error {
	layers := make([]*cdn.Layer, len(plan.Lines))
	for i, l := range plan.Lines {
		var err error
		if layers[i], err = send.Pick(l.Track, s.config.Layer); err != nil {
			return err
		}
	}
	for i, l := range plan.Lines {
		choice := plan.Choices[i]
		announced := sectionOf(sections, choice.Media)
		out := send.Output{To: &s.again, SSRC: announced.ssrc, Extensions: make(map[string]uint8)}
		if l.RTX != 0 {
			out.RTX = announced.rtx
		}
		for _, e := range extensions(choice) {
			out.Extensions[e.uri] = e.id
		}
		s.set.Add(l, layers[i], "").Bind(out)
	}
	return nil
}

// newSSRC returns a number that none of sections has.
func newSSRC(sections []*section) uint32 {
	for {
		var b [4]byte
		_, _ = rand.Read(b[:]) // it does not fail
		n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		taken := slices.ContainsFunc(sections, func(s *section) bool { return s.ssrc == n || s.rtx == n })
		if n != 0 && !taken {
			return n
		}
	}
}

// newCredentials makes credentials and has the port give us their checks.
func (s *Session) newCredentials() (icecheck.Credentials, error) {
	c := icecheck.NewCredentials()
	return c, s.config.Transport.Port.Name(c.Ufrag, s)
}

func (s *Session) local(c icecheck.Credentials) local {
	return local{
		ufrag: c.Ufrag, pwd: c.Pwd, fingerprint: s.config.Transport.Fingerprint, candidates: s.config.Transport.Candidates,
	}
}

// begin asks for keyframes while the viewer connects, and sets the clocks.
func (s *Session) begin() {
	s.set.Warm()
	s.config.Watch.add(s)
	s.mu.Lock()
	if at := s.config.Expires; !at.IsZero() {
		s.expiry = time.AfterFunc(time.Until(at), func() { s.End(fmt.Errorf("%w: the grant has expired", cdn.ErrUnauthorized)) })
	}
	s.mu.Unlock()
	if stream := s.config.Stream; stream != nil {
		s.watch(stream)
	}
}

// watch has the session end with its stream.
func (s *Session) watch(stream *cdn.Stream) {
	unwatch := stream.AfterEnd(s.End)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		unwatch()
		return
	}
	s.unwatch = unwatch
}

// ID is unguessable (128 bits).
func (s *Session) ID() string { return s.id }

// SDP returns the answer, with the credentials of the present ICE session.
func (s *Session) SDP() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sdp
}

// Stats returns a snapshot.
func (s *Session) Stats() send.Stats { return s.set.Stats() }

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session ends or ended, nil while it lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Patch takes candidates, which a lite agent does not need, or new ICE
// credentials, which restart ICE; then it returns our new ones.
func (s *Session) Patch(_ context.Context, text string) (string, error) {
	f, err := negotiate.ParseFragment(text)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return "", s.err
	}
	restarts := f.Ufrag != "" && f.Ufrag != s.remote.ice.Ufrag
	if restarts {
		s.candidates = 0
	}
	if s.candidates += len(f.Candidates); s.candidates > negotiate.MaxTrickled {
		return "", fmt.Errorf("%w: more than %d candidates", cdn.ErrInvalid, negotiate.MaxTrickled)
	}
	if !restarts {
		return "", nil
	}
	return s.restartLocked(f.Ufrag, f.Pwd)
}

// restartsPerMinute bounds how often ICE begins anew, which allows as many checks
// of ours again as at first. A viewer does it when its network changes.
const restartsPerMinute = 5

// restartLocked begins another ICE session (RFC 8839 section 4.4.1.1). Media
// flows as before until the viewer nominates.
func (s *Session) restartLocked(ufrag, pwd string) (string, error) {
	now := time.Now()
	if wait := s.restarts.wait(now); wait > 0 {
		return "", &cdn.Error{
			Op: "restart ICE", Err: fmt.Errorf("%w: %d restarts a minute", cdn.ErrOverLimit, restartsPerMinute), RetryAfter: wait,
		}
	}
	s.restarts.take(now)
	c, err := s.newCredentials()
	if err != nil {
		return "", err
	}
	old := s.ice[0]
	s.remote.ice = icecheck.Credentials{Ufrag: ufrag, Pwd: pwd}
	s.config.Transport.Port.Forget(s, ufrags(s.ice[1:]), nil)
	s.ice = []icecheck.Credentials{c, old}
	s.askAnewLocked()
	s.sdp = strings.NewReplacer("a=ice-ufrag:"+old.Ufrag, "a=ice-ufrag:"+c.Ufrag, "a=ice-pwd:"+old.Pwd, "a=ice-pwd:"+c.Pwd).Replace(s.sdp)
	return s.local(c).fragment(s.remote.mid), nil
}

func ufrags(all []icecheck.Credentials) (names []string) {
	for _, c := range all {
		names = append(names, c.Ufrag)
	}
	return names
}

// End has the session end for the reason given, and does not wait. The first
// reason stays.
func (s *Session) End(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped, s.err = true, err
	go s.finish()
}

// Close ends the session and waits for it. It is idempotent.
func (s *Session) Close() error {
	s.End(cdn.ErrClosed)
	<-s.done
	return nil
}

// finish says goodbye and gives back what the session has. Close waits for it.
func (s *Session) finish() {
	s.config.Watch.remove(s)
	s.mu.Lock()
	if s.expiry != nil {
		s.expiry.Stop()
	}
	if s.repeats != nil {
		s.repeats.Stop()
	}
	if s.unwatch != nil {
		s.unwatch()
	}
	detach, keys := s.detach, s.keys
	s.mu.Unlock()
	if detach != nil {
		detach()
	}
	s.set.Close()
	if keys != nil {
		s.goodbye(keys)
	}
	s.cancel()
	s.mu.Lock()
	if s.pipe != nil {
		_ = s.pipe.Close()
	}
	s.mu.Unlock()
	s.releasePaths()
	s.work.Wait()
	if s.config.Ended != nil {
		s.config.Ended(s.Err(), s.Stats())
	}
	close(s.done)
}

// byeHeadStart is how long before the DTLS close a BYE goes out.
const byeHeadStart = 20 * time.Millisecond

// goodbye sends a BYE and a close_notify, unless the viewer did.
func (s *Session) goodbye(k *keys) {
	select {
	case <-s.gone:
		return
	default:
	}
	s.sendBye()
	select {
	case <-s.gone:
		return
	case <-time.After(byeHeadStart):
	}
	s.mu.Lock()
	frozen := s.frozen
	s.mu.Unlock()
	if !frozen {
		return // the connection's own reader closes it, and so says goodbye
	}
	out := dtlssrtp.NewPipe(s.send)
	k.sayGoodbye(out, s.config.Transport.Certificate, s.config.Log)
	_ = out.Close()
}

// send sends a DTLS record to where the viewer is.
func (s *Session) send(record []byte) error { return s.config.Transport.Port.Send(record, s.to()) }

// dial is the goroutine of a handshake. Afterwards it reads the connection, in
// which a viewer's goodbye comes, until that is set aside.
func (s *Session) dial(p *dtlssrtp.Pipe) {
	conn, k, err := s.shake(p)
	if err != nil {
		if errors.Is(err, dtlssrtp.ErrFingerprint) {
			err = fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
		} else {
			err = fmt.Errorf("%w: DTLS: %w", cdn.ErrPeerLost, err)
		}
		s.End(err)
		return
	}
	s.connected(conn, k)
	s.untilClosed(conn)
}

// shake is the handshake, as DTLS server.
func (s *Session) shake(p *dtlssrtp.Pipe) (*dtls.Conn, *keys, error) {
	conn, err := dtlssrtp.Handshake(s.ctx, p, dtlssrtp.Config{
		Certificate: s.config.Transport.Certificate, Peer: s.remote.fingerprints, Log: s.config.Log,
	})
	if err != nil {
		return nil, nil, err
	}
	k, err := export(conn)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, k, nil
}

func (s *Session) connected(conn *dtls.Conn, k *keys) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.keys, s.conn = k, conn
	s.established.Store(k)
	s.heard = time.Now()
	s.repeats = time.AfterFunc(firstRepeat, func() { s.repeat(firstRepeat) })
	if s.stream != nil {
		s.startLocked()
	}
}

// startLocked begins to send: the stream is there, and the viewer.
func (s *Session) startLocked() {
	s.set.Start()
	s.detach = s.stream.AttachBatch(s)
}

// Our last flight is one that nobody answers: were it lost, the viewer would
// miss it after a second or so. Until its first report comes, it is sent again.
const (
	firstRepeat = 60 * time.Millisecond
	lastRepeat  = 4 * firstRepeat
)

func (s *Session) repeat(after time.Duration) {
	s.mu.Lock()
	p := s.pipe
	if s.stopped || p == nil {
		s.mu.Unlock()
		return
	}
	if after < lastRepeat {
		s.repeats = time.AfterFunc(2*after, func() { s.repeat(2 * after) })
	}
	s.mu.Unlock()
	p.Repeat()
}

const maxBadReads = 64

// untilClosed reads conn until it is closed: by the viewer, by us because the
// session ends, or because it is set aside.
func (s *Session) untilClosed(conn *dtls.Conn) {
	closed := make(chan struct{})
	stop := context.AfterFunc(s.ctx, func() {
		_ = conn.Close()
		close(closed)
	})
	defer func() {
		if !stop() {
			<-closed
		}
	}()
	// Nobody talks to us in DTLS. What is wrong with something that was said is no
	// reason to end.
	buf := make([]byte, 64)
	for bad := 0; bad < maxBadReads; bad++ {
		_, err := conn.Read(buf)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, dtls.ErrConnClosed) {
			break
		}
	}
	s.mu.Lock()
	frozen := s.frozen
	s.mu.Unlock()
	_ = conn.Close()
	if !frozen {
		s.hangUp()
		s.End(cdn.ErrPeerLost)
	}
}
