package cdntest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// SignalingOptions say what a signaling protocol has no place for.
type SignalingOptions struct {
	// PublishOnly: it carries neither a viewer's layer, nor what nodes say of
	// themselves, nor invitations.
	PublishOnly bool
}

// signalingPatience bounds how long a test waits for what should come at once.
const signalingPatience = 10 * time.Second

// TestSignaling tests that a signaling protocol carries what passes between a
// [signal.Handler] and a [signal.Dialer]: descriptions to the byte, fragments,
// errors that [errors.Is] still knows, and the end: what the documentation of
// [signal.Dialer], [signal.RemoteSession] and [signal.NotifyingSession] says, and
// nothing beyond. setup makes h reachable and returns what dials it, at which URL;
// "/live/one" is appended for the stream.
func TestSignaling(t *testing.T, setup func(t *testing.T, h signal.Handler) (signal.Dialer, string), o SignalingOptions) {
	start := func(t *testing.T) (*ScriptedHandler, signal.Dialer, string) {
		h := &ScriptedHandler{}
		d, url := setup(t, h)
		return h, d, strings.TrimSuffix(url, "/") + "/live/one"
	}
	t.Run("offer and answer", func(t *testing.T) { testOffer(t, start, o) })
	t.Run("errors", func(t *testing.T) { testErrors(t, start) })
	t.Run("fragments", func(t *testing.T) { testFragments(t, start) })
	t.Run("close", func(t *testing.T) { testClose(t, start) })
	t.Run("cancel", func(t *testing.T) { testCancel(t, start) })
	t.Run("notification", func(t *testing.T) { testNotification(t, start) })
	if !o.PublishOnly {
		t.Run("invitation", func(t *testing.T) { testInvitation(t, start) })
	}
}

type signalingStart func(t *testing.T) (*ScriptedHandler, signal.Dialer, string)

// Descriptions with what a careless protocol could change.
const (
	scriptedOffer  = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=offer \"%&+<é>\"\r\nt=0 0\r\na=ice-ufrag:them\r\n"
	scriptedAnswer = "v=0\r\no=- 2 1 IN IP4 0.0.0.0\r\ns=answer \"%&+<é>\"\r\nt=0 0\r\na=ice-ufrag:us00\r\na=ice-pwd:secret\r\n"
)

func wishes(o SignalingOptions) signal.Offer {
	offer := signal.Offer{Stream: "live/one", SDP: scriptedOffer, Credential: "to.ke-n_1="}
	if !o.PublishOnly {
		offer.Layer, offer.Node, offer.Path = "h", "n-1", []cdn.NodeID{"n-0", "n-1"}
	}
	return offer
}

func testOffer(t *testing.T, start signalingStart, o SignalingOptions) {
	h, d, url := start(t)
	want := wishes(o)
	s, err := d.Dial(t.Context(), url, want)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	if s.SDP() != scriptedAnswer {
		t.Errorf("the answer arrived as %q", s.SDP())
	}
	got := h.last().offer
	got.RemoteAddr, got.Query = "", nil // the server fills them in
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the offer arrived as\n%+v, not\n%+v", got, want)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func testErrors(t *testing.T, start signalingStart) {
	h, d, url := start(t)
	for _, want := range []error{
		cdn.ErrNotFound, cdn.ErrAlreadyPublishing, cdn.ErrNoCommonCodec, cdn.ErrUnauthorized, cdn.ErrForbidden,
		cdn.ErrOverLimit, cdn.ErrInvalid, cdn.ErrTimeout, cdn.ErrClosed, cdn.ErrLoop, cdn.ErrUnsupported, cdn.ErrEnded,
	} {
		h.Refuse(&cdn.Error{Op: "test", Stream: "live/one", Err: fmt.Errorf("%w: said so", want), RetryAfter: 3 * time.Second})
		_, err := d.Dial(t.Context(), url, wishes(SignalingOptions{PublishOnly: true}))
		if !errors.Is(err, want) {
			t.Errorf("%v arrived as %v", want, err)
			continue
		}
		var e *cdn.Error
		if !errors.As(err, &e) || e.RetryAfter != 3*time.Second {
			t.Errorf("%v arrived without when to try again: %v", want, err)
		}
	}
	h.Refuse(errors.New("the database password is swordfish"))
	if _, err := d.Dial(t.Context(), url, wishes(SignalingOptions{PublishOnly: true})); err == nil {
		t.Error("an unknown error arrived as success")
	}
}

func testFragments(t *testing.T, start signalingStart) {
	h, d, url := start(t)
	s, err := d.Dial(t.Context(), url, wishes(SignalingOptions{PublishOnly: true}))
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	const fragment = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
	if got, err := s.Patch(t.Context(), fragment); err != nil || got != "" {
		t.Errorf("Patch of candidates: %q, %v", got, err)
	}
	if got := h.last().patches(); len(got) != 1 || got[0] != fragment {
		t.Errorf("the fragment arrived as %q", got)
	}
	const restart = "a=ice-ufrag:new0\r\na=ice-pwd:newpassword\r\n"
	if got, err := s.Patch(t.Context(), restart); err != nil || got != "echo:"+restart {
		t.Errorf("Patch that restarts: %q, %v", got, err)
	}
	if _, err := s.Patch(t.Context(), "nonsense"); !errors.Is(err, cdn.ErrInvalid) {
		t.Errorf("Patch of nonsense: %v", err)
	}
}

func testClose(t *testing.T, start signalingStart) {
	h, d, url := start(t)
	s, err := d.Dial(t.Context(), url, wishes(SignalingOptions{PublishOnly: true}))
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	h.last().waitClosed(t)
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if s, err = d.Dial(t.Context(), url, wishes(SignalingOptions{PublishOnly: true})); err != nil {
		t.Fatalf("Dial: %v", err)
	}
	h.last().End(cdn.ErrSuperseded) // the server ends it
	if _, err := s.Patch(t.Context(), "a=x\r\n"); !errors.Is(err, cdn.ErrSuperseded) {
		t.Errorf("Patch after the server ended the session: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close after the server did: %v", err)
	}
}

// testCancel: a session that is made for a client who has gone is closed.
func testCancel(t *testing.T, start signalingStart) {
	h, d, url := start(t)
	entered := h.Block()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := d.Dial(ctx, url, wishes(SignalingOptions{PublishOnly: true}))
		failed <- err
	}()
	select {
	case <-entered:
	case <-time.After(signalingPatience):
		t.Fatal("the offer did not arrive")
	}
	cancel()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("a dial that was given up succeeded")
		}
	case <-time.After(signalingPatience):
		t.Fatal("a dial that was given up goes on")
	}
	if s := h.last(); s != nil {
		s.waitClosed(t)
	}
}

// testNotification: a client whose session is a [signal.NotifyingSession] hears of
// its end, and why.
func testNotification(t *testing.T, start signalingStart) {
	h, d, url := start(t)
	dial := func() signal.NotifyingSession {
		s, err := d.Dial(t.Context(), url, wishes(SignalingOptions{PublishOnly: true}))
		if err != nil {
			t.Fatalf("Dial: %v", err)
		}
		n, _ := s.(signal.NotifyingSession)
		return n
	}
	ends := func(s signal.NotifyingSession, want error) {
		t.Helper()
		select {
		case <-s.Done():
		case <-time.After(signalingPatience):
			t.Fatalf("a client is not told that its session has ended: %v", want)
		}
		if err := s.Err(); !errors.Is(err, want) {
			t.Errorf("the session ended with %v, and its client was told: %v", want, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	first := dial()
	if first == nil {
		return // the protocol cannot tell
	}
	for _, want := range []error{cdn.ErrEnded, cdn.ErrSuperseded, cdn.ErrTooSlow, cdn.ErrForbidden, cdn.ErrClosed} {
		s := dial()
		at := h.last()
		select {
		case <-s.Done():
			t.Fatal("the session has not ended")
		case <-time.After(10 * time.Millisecond):
		}
		if err := s.Err(); err != nil {
			t.Errorf("the session has not ended: %v", err)
		}
		at.End(want)
		ends(s, want)
	}
	select {
	case <-first.Done():
		t.Error("another session has ended")
	default:
	}
	if err := first.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	ends(first, cdn.ErrLeft)
}

func testInvitation(t *testing.T, start signalingStart) {
	h, d, url := start(t)
	offer := wishes(SignalingOptions{})
	offer.SDP = ""
	s, err := d.Dial(t.Context(), url, offer)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	if s.SDP() != scriptedAnswer {
		t.Errorf("the server's offer arrived as %q", s.SDP())
	}
	if err := s.Accept(t.Context(), scriptedOffer); err != nil {
		t.Errorf("Accept: %v", err)
	}
	if got := h.last().accepted(); got != scriptedOffer {
		t.Errorf("the answer arrived as %q", got)
	}
	if err := s.Accept(t.Context(), "v=0\r\n"); !errors.Is(err, cdn.ErrInvalid) {
		t.Errorf("second Accept: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// A ScriptedHandler is a [signal.Handler] and [signal.Offerer] without media,
// that records what it is asked: for tests of signaling. The zero value accepts
// everything. Its methods may be called concurrently.
type ScriptedHandler struct {
	mu       sync.Mutex
	refusal  error
	entered  chan struct{} // not nil: the next offer blocks until its ctx ends
	sessions []*ScriptedSession
}

// Refuse has all offers fail with err; nil accepts them again.
func (h *ScriptedHandler) Refuse(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusal = err
}

// Block has the next offer wait until who asks has given up, and then succeed
// all the same. The channel is closed when it waits.
func (h *ScriptedHandler) Block() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entered = make(chan struct{})
	return h.entered
}

// Offer implements [signal.Handler].
func (h *ScriptedHandler) Offer(ctx context.Context, o signal.Offer) (signal.Session, error) {
	s, err := h.newSession(ctx, o)
	if err != nil {
		return nil, err
	}
	return plainSession{s}, nil
}

// plainSession hides Accept: its answer is made.
type plainSession struct{ signal.StatusSession }

// Invite implements [signal.Offerer].
func (h *ScriptedHandler) Invite(ctx context.Context, o signal.Offer) (signal.OfferedSession, error) {
	return h.newSession(ctx, o)
}

func (h *ScriptedHandler) newSession(ctx context.Context, o signal.Offer) (*ScriptedSession, error) {
	h.mu.Lock()
	refusal, entered := h.refusal, h.entered
	h.entered = nil
	h.mu.Unlock()
	if entered != nil {
		close(entered)
		<-ctx.Done()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if refusal != nil {
		return nil, refusal
	}
	s := &ScriptedSession{id: fmt.Sprintf("session-%d", len(h.sessions)), offer: o, done: make(chan struct{}), changed: make(chan struct{}), sdp: scriptedAnswer}
	h.sessions = append(h.sessions, s)
	return s, nil
}

// Sessions returns the sessions made so far.
func (h *ScriptedHandler) Sessions() []*ScriptedSession {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]*ScriptedSession(nil), h.sessions...)
}

func (h *ScriptedHandler) last() *ScriptedSession {
	all := h.Sessions()
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// A ScriptedSession is a session of a [ScriptedHandler].
type ScriptedSession struct {
	id    string
	offer signal.Offer
	done  chan struct{}

	mu      sync.Mutex
	sdp     string
	patch   []string
	answer  string
	err     error
	status  signal.Status
	changed chan struct{} // closed, and replaced, when status changes
}

// Asked returns the offer that the session was made for.
func (s *ScriptedSession) Asked() signal.Offer { return s.offer }

// ID implements [signal.Session].
func (s *ScriptedSession) ID() string { return s.id }

// SDP implements [signal.Session].
func (s *ScriptedSession) SDP() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sdp
}

// Patch implements [signal.Session]: credentials come back, and change ours.
func (s *ScriptedSession) Patch(_ context.Context, fragment string) (string, error) {
	if fragment == "nonsense" {
		return "", fmt.Errorf("%w: %s", cdn.ErrInvalid, fragment)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patch = append(s.patch, fragment)
	if strings.Contains(fragment, "a=ice-ufrag:") {
		s.sdp = strings.Replace(s.sdp, "a=ice-ufrag:us00", "a=ice-ufrag:us01", 1)
		return "echo:" + fragment, nil
	}
	return "", nil
}

// Accept implements [signal.OfferedSession].
func (s *ScriptedSession) Accept(_ context.Context, answer string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != "" {
		return fmt.Errorf("%w: answered already", cdn.ErrInvalid)
	}
	s.answer = answer
	return nil
}

// SetStatus changes what the session tells of itself.
func (s *ScriptedSession) SetStatus(now signal.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = now
	close(s.changed)
	s.changed = make(chan struct{})
}

// Status implements [signal.StatusSession].
func (s *ScriptedSession) Status() signal.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// AwaitStatus implements [signal.StatusSession].
func (s *ScriptedSession) AwaitStatus(ctx context.Context, seen signal.Status) signal.Status {
	for {
		s.mu.Lock()
		now, changed := s.status, s.changed
		s.mu.Unlock()
		if seen.Viewers = now.Viewers; now != seen {
			return now
		}
		select {
		case <-changed:
		case <-s.done:
			return now
		case <-ctx.Done():
			return now
		}
	}
}

// Done implements [signal.Session].
func (s *ScriptedSession) Done() <-chan struct{} { return s.done }

// Err implements [signal.Session].
func (s *ScriptedSession) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close implements [signal.Session].
func (s *ScriptedSession) Close() error {
	s.End(cdn.ErrLeft)
	return nil
}

// End ends the session for the reason given.
func (s *ScriptedSession) End(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.done)
	}
}

func (s *ScriptedSession) patches() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.patch...)
}

func (s *ScriptedSession) accepted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answer
}

func (s *ScriptedSession) waitClosed(t *testing.T) {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(signalingPatience):
		t.Error("the session stays open")
	}
}
