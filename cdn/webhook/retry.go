package webhook

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	firstRetry   = time.Second
	lastRetry    = 5 * time.Minute
	maxAfter     = time.Hour // of Retry-After
	maxRefusals  = 5
	logSeldom    = time.Minute
	doublingsMax = 20
)

// An answer is what became of a request.
type answer struct {
	status int           // 0: there was none
	after  time.Duration // Retry-After; 0: none
	err    error         // why the message was not taken
}

func (a answer) taken() bool { return a.status >= 200 && a.status <= 299 }

// hopeless reports whether the receiver will not take the message however often it is
// sent.
func (a answer) hopeless(tries int) bool {
	switch a.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return a.status >= 400 && a.status <= 499 && tries >= maxRefusals
}

// backoff is how long to wait after so many tries: between half of what doubles each
// time and all of it, so that nodes do not come together.
func backoff(tries int) time.Duration {
	d := min(firstRetry<<min(tries-1, doublingsMax), lastRetry)
	return d/2 + rand.N(d/2)
}

// retryAfter reads the header (RFC 9110 section 10.2.3). What it does not understand
// is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxAfter)
	}
	return 0
}

// health is what the log knows of an endpoint.
type health struct {
	failing   bool
	told      time.Time // when the last line about failures was written
	toldDrops time.Time
}

// result logs that an endpoint fails, or works again: one line a minute at most.
func (h *health) result(log *slog.Logger, endpoint string, now time.Time, err error) {
	switch {
	case err != nil && !h.failing && now.Sub(h.told) >= logSeldom:
		h.failing, h.told = true, now
		log.Warn("a webhook's endpoint does not take messages: they wait, and are sent again", "endpoint", endpoint, "err", err)
	case err == nil && h.failing:
		h.failing = false
		log.Info("a webhook's endpoint takes messages again", "endpoint", endpoint)
	}
}

// dropped logs that messages get lost: one line a minute at most.
func (h *health) dropped(log *slog.Logger, endpoint string, now time.Time, all uint64) {
	if now.Sub(h.toldDrops) >= logSeldom {
		h.toldDrops = now
		log.Warn("messages for a webhook's endpoint are dropped", "endpoint", endpoint, "dropped", all)
	}
}
