package trouble

import (
	"log/slog"
	"sync"
	"time"

	"github.com/deltacdn/delta/internal/trouble/seldom"
)

// A Reporter logs troubles of one node: a line at WARN for each cause and place at once,
// then seldom, and one at INFO when it is well again. Its methods may be called
// concurrently.
type Reporter struct {
	log   *slog.Logger
	pacer seldom.Pacer[key]

	mu    sync.Mutex
	known map[string]time.Time // when a place's trouble was last known by a cause that explains others
}

type key struct {
	place string
	cause Cause
}

// NewReporter returns a Reporter that logs to log.
func NewReporter(log *slog.Logger) *Reporter {
	return &Reporter{log: log, known: make(map[string]time.Time)}
}

const (
	// maxKnown bounds the places that are remembered.
	maxKnown = 1024
	// knownFor is how long a known cause speaks for what else goes wrong at its place.
	knownFor = 2 * time.Minute
)

// Wrong logs the trouble that is behind an error with the node at a place, if there is
// one and a line about it is due. args are attributes of the line.
func (r *Reporter) Wrong(place string, err error, args ...any) {
	t, ok := Of(err)
	if !ok {
		return
	}
	switch t.Cause {
	case Refusal, Circle:
		if r.explained(place) {
			return
		}
	default:
		r.note(place)
	}
	r.Report(t.Cause, place, append(args, "err", err)...)
}

// Report logs a trouble at a place, if a line about it is due.
func (r *Reporter) Report(c Cause, place string, args ...any) {
	lasts, due := r.pacer.WrongFor(time.Now(), key{place, c}, patience(c))
	if !due {
		return
	}
	t := lookUp(c)
	if lasts.Times > 1 {
		args = append(args, "for", lasts.For.Round(time.Second), "times", lasts.Times)
	}
	r.log.With("cause", string(c), "do", t.Do).Warn(t.Sentence, args...) //nolint:sloglint // the sentences are those of a table
}

// patience is how long a trouble may last before it is one. Nodes that are started
// together, or anew, are not there for a moment.
func patience(c Cause) time.Duration {
	switch c { //nolint:exhaustive // the others do not pass
	case Refused, ProxyFails, NotHTTP:
		return 1500 * time.Millisecond
	}
	return 0
}

// Well notes that the node at a place can be reached as it should.
func (r *Reporter) Well(place string, args ...any) {
	r.mu.Lock()
	delete(r.known, place)
	r.mu.Unlock()
	lasted, due := r.pacer.WellAll(time.Now(), func(k key) bool { return k.place == place })
	if due {
		r.log.Info("a trouble with another node is over", append(args, "after", lasted.For.Round(time.Second))...)
	}
}

func (r *Reporter) note(place string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= maxKnown {
		clear(r.known)
	}
	r.known[place] = time.Now()
}

func (r *Reporter) explained(place string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.known[place]
	return ok && time.Since(at) < knownFor
}
