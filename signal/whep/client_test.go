package whep_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
)

// A foreign server answers as a script says, and notes what it is asked.
type foreign struct {
	mu    sync.Mutex
	asked []string // "METHOD type if-match body"
	next  http.HandlerFunc
}

func (f *foreign) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.asked = append(f.asked, fmt.Sprintf("%s %s %s %s", r.Method, r.Header.Get("Content-Type"), r.Header.Get("If-Match"), body))
	next := f.next
	f.mu.Unlock()
	next(w, r)
}

func (f *foreign) then(next http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = next
}

func (f *foreign) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[len(f.asked)-1]
}

func answer(status int, kind, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// draft-ietf-wish-whep, "HTTP usage": "MUST be able to handle all applicable status
// codes gracefully falling back to the generic n00 semantics"; "Playback session
// set up": 409 where nobody publishes. "WHEP players MUST ignore any Link attribute
// with an unknown "rel" attribute value".
func TestClientUnderstandsStatuses(t *testing.T) {
	f := &foreign{}
	s := httptest.NewServer(f)
	defer s.Close()
	offer := signal.Offer{SDP: "v=0\r\na=ice-ufrag:mine\r\n"}
	for status, want := range map[int]error{
		200: nil, 201: nil, 202: nil, 299: nil,
		300: cdn.ErrInvalid, 301: cdn.ErrInvalid, 302: cdn.ErrInvalid, 303: cdn.ErrInvalid, 399: cdn.ErrInvalid,
		400: cdn.ErrInvalid, 404: cdn.ErrNotFound, 406: cdn.ErrUnsupported, 409: cdn.ErrNotFound, 451: cdn.ErrInvalid,
		500: cdn.ErrPeerLost, 503: cdn.ErrOverLimit, 599: cdn.ErrPeerLost,
	} {
		f.then(answer(status, "application/sdp", "v=0\r\nanswer", "Location", "s/1", "Retry-After", "7",
			"Link", `<x>; rel="urn:example:unknown"`, "Link", "nonsense"))
		if status == 406 { // without a session it is no counter-offer
			f.then(answer(status, "application/sdp", "v=0\r\nanswer", "Retry-After", "7"))
		}
		session, err := (&whep.Client{}).Dial(t.Context(), s.URL+"/whep/live", offer)
		if want == nil {
			require.NoError(t, err, status)
			require.Equal(t, "v=0\r\nanswer", session.SDP())
			f.then(answer(200, "", ""))
			require.NoError(t, session.Close(t.Context()))
			continue
		}
		require.ErrorIs(t, err, want, status)
		var e *cdn.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 7*time.Second, e.RetryAfter)
	}
}

// draft-ietf-wish-whep-04: "406 Not Acceptable" with a description and a Location is
// the server's offer, valid for 30 s unless valid-until says otherwise; the player
// answers it by a PATCH of "application/sdp", which is answered 204.
func TestCounterOffer(t *testing.T) {
	f := &foreign{}
	s := httptest.NewServer(f)
	defer s.Close()
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for kind, want := range map[string]time.Time{
		"application/sdp": time.Now().Add(30 * time.Second),
		`application/sdp; valid-until="` + until.Format(http.TimeFormat) + `"`: until,
		`application/sdp; valid-until=soon`:                                    time.Now().Add(30 * time.Second),
	} {
		f.then(answer(406, kind, "v=0\r\noffer of the server", "Location", "/s/1", "ETag", `"one"`))
		_, err := (&whep.Client{}).Dial(t.Context(), s.URL+"/whep/live", signal.Offer{SDP: "v=0\r\na=ice-ufrag:mine\r\n", Credential: "to.ken"})
		require.ErrorIs(t, err, cdn.ErrUnsupported, "for those who cannot answer it")
		var counter *signal.CounterOffer
		require.ErrorAs(t, err, &counter)
		require.Equal(t, "v=0\r\noffer of the server", counter.Session.SDP())
		require.WithinDuration(t, want, counter.Until, 5*time.Second)
		f.then(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer to.ken" || r.URL.Path != "/s/1" {
				t.Errorf("the answer went to %s with %q", r.URL, r.Header.Get("Authorization"))
			}
			w.WriteHeader(http.StatusNoContent)
		})
		require.NoError(t, counter.Session.Accept(t.Context(), "v=0\r\na=ice-ufrag:other\r\n"))
		require.Equal(t, "PATCH application/sdp  v=0\r\na=ice-ufrag:other\r\n", f.last())
		_, err = counter.Session.Patch(t.Context(), "a=ice-ufrag:other\r\na=ice-pwd:x\r\na=candidate:1\r\n")
		require.NoError(t, err)
		require.Contains(t, f.last(), `PATCH application/trickle-ice-sdpfrag "one" a=ice-ufrag:other`, "which is no restart")
	}
}

// RFC 9725 section 4.3.3: "when the client performs an ICE restart, it MUST [...]
// ignore any further HTTP PATCH response received from a pending HTTP PATCH
// request. WHIP clients MUST apply only the ICE information received in the
// response to the last sent request."
func TestAnswersToOlderRestartsAreDiscarded(t *testing.T) {
	f := &foreign{}
	s := httptest.NewServer(f)
	defer s.Close()
	f.then(answer(201, "application/sdp", "v=0\r\n", "Location", "/s/1", "ETag", `"zero"`))
	session, err := (&whep.Client{}).Dial(t.Context(), s.URL+"/whep/live", signal.Offer{SDP: "v=0\r\na=ice-ufrag:zero\r\n"})
	require.NoError(t, err)
	entered, release := make(chan struct{}), make(chan struct{})
	f.then(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		answer(200, "application/trickle-ice-sdpfrag", "answer to one", "ETag", `"one"`)(w, nil)
	})
	late := make(chan error, 1)
	go func() {
		_, err := session.Patch(t.Context(), "a=ice-ufrag:one0\r\n")
		late <- err
	}()
	<-entered
	f.then(answer(200, "application/trickle-ice-sdpfrag", "answer to two", "ETag", `"two"`))
	got, err := session.Patch(t.Context(), "a=ice-ufrag:two0\r\n")
	require.NoError(t, err)
	require.Equal(t, "answer to two", got)
	close(release)
	require.ErrorIs(t, <-late, cdn.ErrSuperseded)
	f.then(answer(204, "", ""))
	_, err = session.Patch(t.Context(), "a=ice-ufrag:two0\r\na=candidate:1\r\n")
	require.NoError(t, err)
	require.Contains(t, f.last(), ` "two" `, "the tag of the last restart")
}

// RFC 9725 section 4.5: redirections keep method and body; they are bounded, and
// lead neither to plain http nor a token to another host.
func TestRedirectionsDoNotDowngrade(t *testing.T) {
	plain := &foreign{}
	plain.then(answer(201, "application/sdp", "v=0\r\n", "Location", "/s/1"))
	target := httptest.NewServer(plain)
	defer target.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target.URL+"/whep/live", http.StatusTemporaryRedirect)
	}))
	defer secure.Close()
	_, err := (&whep.Client{HTTP: secure.Client()}).Dial(t.Context(), secure.URL+"/whep/live", signal.Offer{SDP: "v=0\r\n"})
	require.ErrorIs(t, err, cdn.ErrInvalid)
	require.Empty(t, plain.asked)
}

// A session's client hears of the end although the event stream broke off
// meanwhile, and of one that it missed.
func TestSessionsNotifyAfterTheStreamBroke(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	inner, err := whep.New(h, whep.Config{})
	require.NoError(t, err)
	listening := make(chan context.CancelFunc, 10) // of each request that listens
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			ctx, cancel := context.WithCancel(r.Context())
			listening <- cancel
			r = r.WithContext(ctx)
		}
		inner.ServeHTTP(w, r)
	}))
	defer s.Close()
	defer func() { require.NoError(t, inner.Close()) }()
	session, err := (&whep.Client{HTTP: s.Client()}).Dial(t.Context(), s.URL+"/whep/live", signal.Offer{SDP: "v=0\r\n"})
	require.NoError(t, err)
	n := session.(signal.NotifyingSession)
	done := n.Done()
	(<-listening)()
	h.Sessions()[0].End(cdn.ErrSuperseded)
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the end of the session was not heard of")
	}
	require.ErrorIs(t, n.Err(), cdn.ErrSuperseded)
	require.NoError(t, n.Close(t.Context()))
}
