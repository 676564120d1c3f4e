package hookauth

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/internal/outbound"
	"github.com/deltacdn/delta/cdn/webhook"
)

// The reasons for which there is no answer. Both wrap [cdn.ErrUnavailable]: nobody is
// let in, and nothing is said about the client.
var (
	// ErrHook: the hook does not answer, or not as it has to.
	ErrHook = fmt.Errorf("the hook that decides does not answer: %w", cdn.ErrUnavailable)
	// ErrBusy: too many questions wait for the hook, of all or of this address.
	ErrBusy = fmt.Errorf("too many questions wait for the hook that decides: %w", cdn.ErrUnavailable)
)

// A hook makes the requests.
type hook struct {
	// static
	url     *url.URL
	name    string
	keys    []webhook.Key
	client  *outbound.Client
	log     *slog.Logger
	timeout time.Duration
	share   int           // of slots, for one source
	slots   chan struct{} // holds one for each request that goes on
	clients chan struct{} // of slots, those that clients may have: the others are for those who are in

	mu      sync.Mutex
	circuit circuit
	crowds  map[netip.Prefix]*crowd
	waiting int       // questions that wait or are asked, of all clients
	told    time.Time // when a failure was logged last
	failing bool
}

// A crowd is what clients of one source ask ([halfopen.Source]).
type crowd struct {
	slots   chan struct{} // holds one for each of its requests that goes on
	waiting int
}

// queueFactor is how many questions may wait for each that is asked.
const queueFactor = 8

func newHook(c Config, u *url.URL, keys []webhook.Key) *hook {
	return &hook{
		url: u, name: outbound.Name(u), keys: keys, client: outbound.NewClient(c.Concurrency, c.Transport), log: c.Logger,
		timeout: c.Timeout, share: max(c.Concurrency/4, 1), slots: make(chan struct{}, c.Concurrency),
		clients: make(chan struct{}, c.Concurrency-min(c.rechecks(), c.Concurrency-1)),
		crowds:  make(map[netip.Prefix]*crowd),
	}
}

// ask asks the hook for a client, when it is the question's turn.
func (h *hook) ask(ctx context.Context, question []byte, client netip.Prefix) (Answer, error) {
	of, err := h.queue(client)
	if err != nil {
		return Answer{}, err
	}
	defer h.unqueue(client, of)
	return h.askWith(ctx, question, of.slots, h.clients, h.slots)
}

// askAgain asks the hook about sessions that run. However many clients wait, it is
// its turn soon.
func (h *hook) askAgain(ctx context.Context, question []byte) (Answer, error) {
	return h.askWith(ctx, question, h.slots)
}

// askWith asks the hook once there is room in all of those.
func (h *hook) askWith(ctx context.Context, question []byte, all ...chan struct{}) (Answer, error) {
	patience := time.NewTimer(h.timeout)
	defer patience.Stop()
	for _, slots := range all {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-patience.C:
			return Answer{}, ErrBusy
		case <-ctx.Done():
			return Answer{}, ErrHook
		}
	}
	h.mu.Lock()
	may := h.circuit.may(time.Now())
	h.mu.Unlock()
	if !may {
		return Answer{}, ErrHook
	}
	bounded, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	a, err := h.post(bounded, question)
	if ctx.Err() != nil {
		err = ctx.Err() // closed
	} else {
		h.result(err)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("%w (%s)", ErrHook, err.Error())
	}
	return a, nil
}

// queue takes a place for a question: eight times as many may wait as are asked at a
// time, and one source may have half of the places.
func (h *hook) queue(client netip.Prefix) (*crowd, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	of, most := h.crowds[client], queueFactor*cap(h.slots)
	if of == nil {
		of = &crowd{slots: make(chan struct{}, h.share)}
	}
	if h.waiting >= most || client.IsValid() && of.waiting >= most/2 {
		return nil, ErrBusy
	}
	h.waiting++
	of.waiting++
	h.crowds[client] = of
	return of, nil
}

func (h *hook) unqueue(client netip.Prefix, of *crowd) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting--
	if of.waiting--; of.waiting == 0 {
		delete(h.crowds, client)
	}
}

// result takes what became of a request, and logs when that changes: once a minute at
// most.
func (h *hook) result(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.circuit.done(now, err == nil)
	switch {
	case err != nil && !h.failing && now.Sub(h.told) >= time.Minute:
		h.failing, h.told = true, now
		h.log.Warn("the hook that decides who may does not answer: new clients are refused with 503, sessions go on", "hook", h.name, "err", err)
	case err == nil && h.failing:
		h.failing = false
		h.log.Info("the hook that decides who may answers again", "hook", h.name)
	}
}

// post makes a request.
func (h *hook) post(ctx context.Context, question []byte) (Answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url.String(), bytes.NewReader(question))
	if err != nil {
		return Answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "delta-hookauth")
	if len(h.keys) > 0 {
		webhook.SetHeaders(r.Header, "ask_"+rand.Text(), time.Now(), question, h.keys...)
	}
	resp, err := h.client.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer outbound.Discard(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return Answer{}, fmt.Errorf("its status is %d and not 200", resp.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return Answer{}, errors.New("its answer is not of type application/json")
	}
	data, err := outbound.ReadAll(resp.Body, maxAnswer)
	if err != nil {
		return Answer{}, err
	}
	a, err := ParseAnswer(data)
	if err != nil {
		return Answer{}, fmt.Errorf("its answer: %w", err)
	}
	return a, nil
}
