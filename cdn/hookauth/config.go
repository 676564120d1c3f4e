package hookauth

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/internal/outbound"
	"github.com/deltacdn/delta/cdn/webhook"
)

// Config sets up an [Authorizer]. It must not be changed after it was passed.
type Config struct {
	// URL gets a POST for each question. It must be https, or http on this machine.
	// Redirects are not followed.
	URL string
	// Secrets sign the requests as Standard Webhooks says, all of them: each is
	// "whsec_" and base64 of 24 to 64 bytes. [webhook.Verify] checks it. If empty, the
	// requests are not signed, and anybody who reaches the hook can ask it.
	Secrets []string
	// Node is named in every request.
	Node cdn.NodeID
	// Parameters are the parameters of the client's URL that the hook is told. If nil,
	// all.
	Parameters []string

	// Timeout bounds one request. If zero, 3 s.
	Timeout time.Duration
	// Concurrency is how many requests are made at a time. One address of clients, of
	// IPv6 one /64, has a quarter of them at most. A quarter is kept for sessions that
	// run. If zero, 32.
	Concurrency int
	// Recheck is how often the hook is asked again about sessions that run. If zero,
	// 30 s; below zero, never.
	Recheck time.Duration
	// Cache is how many answers are kept. If zero, 10,000.
	Cache int
	// MaxTTL bounds for how long an answer is kept, whatever it says. If zero, 5 min.
	MaxTTL time.Duration
	// RefusalTTL bounds the same for refusals. If zero, 2 s.
	RefusalTTL time.Duration

	// AllowPlain allows http to other machines. Who is on the way can read tokens and
	// let in anybody then.
	AllowPlain bool
	// Transport makes the requests, with a private CA or a client certificate, say. If
	// nil, one of its own.
	Transport http.RoundTripper
	// Logger gets what an operator should know. If nil, nothing is logged.
	Logger *slog.Logger
}

const defaultRecheck = 30 * time.Second

func (c Config) withDefaults() (Config, *url.URL, []webhook.Key, error) {
	fail := func(err error) (Config, *url.URL, []webhook.Key, error) {
		return c, nil, nil, &cdn.Error{Op: "hookauth", Err: fmt.Errorf("%w: %w", cdn.ErrInvalid, err)}
	}
	u, err := outbound.CheckURL(c.URL, c.AllowPlain)
	if err != nil {
		return fail(fmt.Errorf("the URL of the hook: %w", err))
	}
	var keys []webhook.Key
	for _, secret := range c.Secrets {
		key, err := webhook.ParseKey(secret)
		if err != nil {
			return fail(err)
		}
		keys = append(keys, key)
	}
	if c.Recheck == 0 {
		c.Recheck = defaultRecheck
	} else if c.Recheck < 0 {
		c.Recheck = -defaultRecheck // what is over is still forgotten
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.Timeout, 3*time.Second)
	setDefault(&c.Concurrency, 32)
	setDefault(&c.Cache, 10_000)
	setDefault(&c.MaxTTL, 5*time.Minute)
	setDefault(&c.RefusalTTL, 2*time.Second)
	return c, u, keys, nil
}

// rechecks is how many requests about sessions that run are made at a time.
func (c Config) rechecks() int { return max(c.Concurrency/4, 1) }

func setDefault[T ~int | ~int64](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}
