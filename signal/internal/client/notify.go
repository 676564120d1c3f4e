package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/problem"
	"github.com/deltacdn/delta/signal/internal/resource"
)

const (
	// silence is how long an event stream may send nothing, not even a keep-alive, until
	// it counts as broken. A server of ours sends one every 15 s.
	silence = 45 * time.Second
	// The pauses between attempts to listen again.
	firstPause = time.Second
	lastPause  = 15 * time.Second
	// maxLine bounds a line of an event stream, in bytes.
	maxLine = 16 << 10
)

// A notifying session is notified of its end by the server's event stream: see
// internal/resource. It listens from the first call of Done on.
type notifying struct {
	*session
	events *url.URL // where event streams are made
	made   *url.URL // an event stream; owned by followEvents

	listen   sync.Once
	ctx      context.Context // ends listening
	cancel   context.CancelFunc
	listener sync.WaitGroup

	over sync.Once
	done chan struct{}
	err  error // static when done is closed
}

// notifying returns the session as one that is notified of its end, if the server supports
// that.
func (s *session) notifying(answer http.Header) signal.RemoteSession {
	target, ok := eventsLink(answer)
	if !ok {
		return s
	}
	events, err := s.url.Parse(target)
	if err != nil || !sameServer(events, s.url) { // credentials go there
		return s
	}
	n := &notifying{session: s, events: events, done: make(chan struct{})}
	n.ctx, n.cancel = context.WithCancel(signal.WithAddr(context.Background(), s.addr))
	return n
}

// eventsLink returns the target of the Link (RFC 8288) to the session's events, if its end
// is among them.
func eventsLink(h http.Header) (target string, ok bool) {
	for _, link := range h.Values("Link") {
		target, parameters, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
		if !ok {
			continue
		}
		values := map[string]string{}
		for p := range strings.SplitSeq(parameters, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
			values[strings.ToLower(name)] = strings.Trim(value, `"`)
		}
		if values["rel"] == resource.RelOwnEvents && slices.Contains(strings.Split(values["events"], ","), resource.EventEnded) {
			return target, true
		}
	}
	return "", false
}

// Done implements [signal.NotifyingSession].
func (n *notifying) Done() <-chan struct{} {
	n.listen.Do(func() { n.listener.Go(n.followEvents) })
	return n.done
}

// Err implements [signal.NotifyingSession].
func (n *notifying) Err() error {
	select {
	case <-n.done:
		return n.err
	default:
		return nil
	}
}

// Close ends the session, and listening.
func (n *notifying) Close(ctx context.Context) error {
	n.end(&cdn.Error{Op: n.client.Op, Stream: n.stream, Err: cdn.ErrLeft})
	n.listen.Do(func() {}) // listening cannot begin any more
	n.cancel()
	n.listener.Wait()
	return n.session.Close(ctx)
}

func (n *notifying) end(err error) {
	n.over.Do(func() {
		n.err = err
		close(n.done)
	})
}

// followEvents listens until the session has ended, and again where a stream breaks off.
func (n *notifying) followEvents() {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		begun := time.Now()
		err := n.readEvents()
		if n.ctx.Err() != nil {
			return
		}
		if !errors.Is(err, errBroken) {
			n.end(err)
			return
		}
		if time.Since(begun) > silence {
			pause = firstPause
		}
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// errBroken says that the stream told nothing of the session's end, which may go on.
var errBroken = errors.New("the event stream broke off")

// readEvents reads the event stream, which it makes if there is none yet. It returns
// why the session ended, or errBroken.
func (n *notifying) readEvents() error {
	if n.made == nil {
		names, _ := json.Marshal([]string{resource.EventEnded}) // strings always can be
		resp, err := n.ask(n.ctx, http.MethodPost, n.events, string(names))
		if err != nil {
			return err
		}
		discard(resp)
		if n.made, err = resp.Location(); err != nil || !sameServer(n.made, n.events) {
			n.made = nil
			return errBroken
		}
	}
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	resp, err := n.ask(ctx, http.MethodGet, n.made, "")
	if err != nil {
		if !errors.Is(err, errBroken) {
			n.made = nil // it is gone, or the session is: a request for another shows which
		}
		return errBroken
	}
	defer func() { _ = resp.Body.Close() }()
	timer := time.AfterFunc(silence, cancel)
	defer timer.Stop()
	return n.read(resp.Body, timer)
}

// ask makes a request. A server that does not know the session any more says why it ended;
// other errors may be temporary.
func (n *notifying) ask(ctx context.Context, method string, at *url.URL, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, at.String(), strings.NewReader(body))
	if err != nil {
		return nil, errBroken
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if n.credential != "" {
		req.Header.Set("Authorization", "Bearer "+n.credential)
	}
	resp, err := n.client.do(req)
	switch {
	case err != nil:
		return nil, errBroken
	case resp.StatusCode/100 == 2:
		return resp, nil
	}
	defer discard(resp)
	err = problem.Read(n.client.Op, n.stream, resp, n.client.Conflict)
	if resp.StatusCode == http.StatusGone || resp.StatusCode == http.StatusNotFound {
		return nil, err
	}
	return nil, errBroken
}

// read reads events (https://html.spec.whatwg.org/#server-sent-events), and moves
// the timer with each line.
func (n *notifying) read(body io.Reader, timer *time.Timer) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 512), maxLine)
	var name, data string
	for lines.Scan() {
		timer.Reset(silence)
		line := lines.Text()
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && name == resource.EventEnded:
			return n.ended(data)
		case line == "":
			name, data = "", ""
		case field == "event":
			name = value
		case field == "data" && len(data)+len(value) <= maxLine:
			data += value
		}
	}
	return errBroken
}

// ended returns the error of an event.
func (n *notifying) ended(data string) error {
	var d struct{ Code, Detail string }
	_ = json.Unmarshal([]byte(data), &d) // without data it says no reason
	if d.Code == "" {
		d.Code = cdn.ErrorCode(errBroken)
	}
	err := cdn.ErrorFor(d.Code)
	if d.Detail != "" {
		err = fmt.Errorf("%w: %s", err, d.Detail)
	}
	return &cdn.Error{Op: n.client.Op, Stream: n.stream, Node: cdn.NodeID(n.url.Host), Err: err}
}
