package resource

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/problem"
)

const (
	// keepAlive is the interval of an event stream's keep-alive comments.
	keepAlive = 15 * time.Second
	// countEvery is the least interval between two events about the number of viewers.
	countEvery = time.Second
)

// A subscription is an event stream, read by at most one request at a time.
type subscription struct {
	names []string

	mu     sync.Mutex
	over   bool
	reader context.CancelFunc // ends the request that reads; nil: none does
	turn   sync.Mutex         // held by that request
	told   signal.Status      // guarded by turn
	active bool               // whether the event of that name was ever sent; guarded by turn
}

func (sub *subscription) wants(name string) bool { return slices.Contains(sub.names, name) }

// attach gives the stream to a request, and ends the one that reads it: a player that
// connects again has lost that. It returns false when the stream is over. The caller must
// call detach.
func (sub *subscription) attach(ctx context.Context) (_ context.Context, detach func(), ok bool) {
	ctx, cancel := context.WithCancel(ctx)
	sub.mu.Lock()
	if sub.over {
		sub.mu.Unlock()
		cancel()
		return nil, nil, false
	}
	if sub.reader != nil {
		sub.reader()
	}
	sub.reader = cancel
	sub.mu.Unlock()
	sub.turn.Lock()
	return ctx, func() { cancel(); sub.turn.Unlock() }, true
}

// end ends the stream for good.
func (sub *subscription) end() {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	sub.over = true
	if sub.reader != nil {
		sub.reader()
	}
}

// listen serves an event stream until the session, its client or the server ends.
func (s *Server) listen(w http.ResponseWriter, r *http.Request, e *entry, id string) {
	sub := e.events.find(id, e.Session)
	if sub == nil {
		problem.New(problem.NoStream, "").Write(w)
		return
	}
	ctx, stop := s.streams.join(r)
	defer stop()
	if r.Method == http.MethodHead { // it must not end the request that reads
		w.Header().Set("Content-Type", typeEvents)
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
		return
	}
	ctx, detach, ok := sub.attach(ctx)
	if !ok {
		problem.New(problem.NoStream, "").Write(w)
		return
	}
	defer detach()
	h := w.Header()
	h.Set("Content-Type", typeEvents)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	out := s.config.Limits.NewStream(w)
	if out.Send(": connected\n\n") == nil {
		sub.tell(ctx, e, out.Send)
	}
}

// tell sends the changes of the session's status until the session or ctx has ended or send
// fails.
func (sub *subscription) tell(ctx context.Context, e *entry, send func(string) error) {
	session := e.Session
	status, _ := session.(signal.StatusSession)
	// Everything is sent again, since earlier events may not have arrived. That nobody
	// publishes is sent only where somebody did: the extension forbids it as the first event.
	sub.told = signal.Status{Active: sub.active}
	first := true
	quiet := time.Now()
	for {
		select {
		case <-session.Done(): // first: the handler ends both
			if sub.wants(EventEnded) {
				d := problem.Of(session.Err())
				_ = send(event(EventEnded, map[string]string{"code": d.Code, "detail": d.Detail}))
			}
			return
		default:
		}
		if ctx.Err() != nil {
			return
		}
		text := ""
		if status != nil {
			text = sub.changes(status.Status(), first, e.endpoint)
		}
		now := time.Now()
		if text == "" && now.Sub(quiet) >= keepAlive {
			text = ": keep-alive\n\n"
		}
		if text != "" {
			if send(text) != nil {
				return
			}
			quiet = now
		}
		first = false
		sub.await(ctx, session, status, keepAlive-now.Sub(quiet))
	}
}

// await returns when the status may have changed.
func (sub *subscription) await(ctx context.Context, session signal.Session, status signal.StatusSession, longest time.Duration) {
	if status != nil && (sub.wants(eventViewerCount) || sub.wants(eventLayer) || sub.wants(eventAdaptation)) {
		longest = min(longest, countEvery) // nobody is woken for these, nor when a path limits no more
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	if status != nil {
		status.AwaitStatus(ctx, sub.told)
		return
	}
	select {
	case <-session.Done():
	case <-ctx.Done():
	}
}

// changes returns the events that lead from the status sent last to now, which it notes as
// sent.
func (sub *subscription) changes(now signal.Status, first bool, endpoint string) (text string) {
	before := sub.told
	sub.told = now
	add := func(name string, data any) {
		if sub.wants(name) {
			text += event(name, data)
		}
	}
	nothing := struct{}{}
	switch {
	case now.Active && (first || !before.Active):
		sub.active = true
		add(eventActive, nothing)
	case !now.Active && before.Active:
		add(eventInactive, nothing)
	}
	if now.Viewers != before.Viewers {
		add(eventViewerCount, map[string]int{"viewercount": now.Viewers})
	}
	if now.Reconnect && (!before.Reconnect || now.ReconnectURL != before.ReconnectURL) {
		data := map[string]string{}
		if now.ReconnectURL != "" {
			data["url"] = strings.TrimRight(now.ReconnectURL, "/") + endpoint
		}
		add(eventReconnect, data)
	}
	if now.Layer != before.Layer || now.Paused != before.Paused {
		add(eventLayer, map[string]any{"layer": now.Layer, "paused": now.Paused})
	}
	if a := now.Adaptation; a != before.Adaptation && a != (signal.Adaptation{}) {
		add(eventAdaptation, adaptation{
			Layer: a.Layer, Height: a.Height, Bitrate: a.Bitrate, Mode: a.Mode, Paused: a.Mode == paused, Limited: a.Limited, Reason: a.Reason,
		})
	}
	if m := now.Mismatch; m != before.Mismatch && m != (signal.Mismatch{}) {
		add(eventCodec, map[string]string{"kind": m.Kind, "stream": m.Stream, "offered": m.Offered})
	}
	return text
}

// paused is the mode of an adaptation that sends no video.
const paused = "paused"

// An adaptation is the data of the event of that name.
type adaptation struct {
	Layer   string `json:"layer"`
	Height  int    `json:"height,omitempty"`
	Bitrate int    `json:"bitrate,omitempty"`
	Mode    string `json:"mode"`
	Paused  bool   `json:"paused"`
	Limited bool   `json:"limited"`
	Reason  string `json:"reason"`
}

// event returns one event, with its data in a single line as the extension requires.
func event(name string, data any) string {
	line, _ := json.Marshal(data) // what we tell always can be
	return "event: " + name + "\ndata: " + string(line) + "\n\n"
}

// streams are the requests that listen to events. They end with the handler, and with the
// server that they came through: [http.Server.Shutdown] waits for requests, and would wait
// for ever.
type streams struct {
	mu      sync.Mutex
	servers map[*http.Server]*serving
	all     serving
}

// serving is a server, or the handler, for as long as it serves.
type serving struct {
	ctx  context.Context
	stop context.CancelFunc
}

func newServing() *serving {
	ctx, stop := context.WithCancel(context.Background())
	return &serving{ctx, stop}
}

func newStreams() streams {
	return streams{servers: make(map[*http.Server]*serving), all: *newServing()}
}

func (s *streams) close() { s.all.stop() }

// watch ends the streams of the server that a request came through when that shuts down. It
// is called for every request, since a server that shuts down ignores new registrations.
func (s *streams) watch(r *http.Request) {
	server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	if server == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.servers[server] == nil {
		one := newServing()
		s.servers[server] = one
		server.RegisterOnShutdown(one.stop)
	}
}

// join returns the context of a request that listens.
func (s *streams) join(r *http.Request) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	stopAll := context.AfterFunc(s.all.ctx, cancel)
	stopServer := func() bool { return true }
	if server, _ := r.Context().Value(http.ServerContextKey).(*http.Server); server != nil {
		s.mu.Lock()
		one := s.servers[server]
		s.mu.Unlock()
		stopServer = context.AfterFunc(one.ctx, cancel)
	}
	return ctx, func() { stopAll(); stopServer(); cancel() }
}
