package cdn

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Static returns a [Directory] that answers, whatever the stream, with the
// nodes whose signaling is at urls, in the order given: the point of entry of
// a network that has no other discovery. Whether a node has the stream turns
// out when it is asked; its entry says neither who it is nor how far from the
// publisher. Put and Remove succeed and are forgotten, so that a node with a
// static directory can run every service.
//
// A url is absolute: a scheme, a host and perhaps a path, such as
// "https://o-eu1.example.com"; a query or a fragment has no place in it. The
// scheme is for the signaling to understand. If one of them is not so, every
// Find fails with an error wrapping [ErrInvalid] that says which. Without any
// url no stream is found.
func Static(urls ...string) Directory {
	d := static{}
	for _, u := range urls {
		base, err := baseURL(u)
		if err != nil {
			return static{err: err}
		}
		d.urls = append(d.urls, base)
	}
	return d
}

// Nodes returns the entries that every stream has, so that links with them can
// be kept ready.
func (d static) Nodes() []Entry {
	entries := make([]Entry, len(d.urls))
	for i, u := range d.urls {
		entries[i] = Entry{URL: u}
	}
	return entries
}

type static struct {
	urls []string
	err  error
}

func (d static) Put(ctx context.Context, _ Entry, _ time.Duration) error { return ctx.Err() }

func (d static) Remove(ctx context.Context, _ Entry) error { return ctx.Err() }

func (d static) Find(ctx context.Context, id StreamID) ([]Entry, error) {
	err := d.err
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, &Error{Op: "find", Stream: id, Err: err}
	}
	entries := d.Nodes()
	for i := range entries {
		entries[i].Stream = id
	}
	return entries, nil
}

// baseURL returns s, the address of a node's signaling, without trailing
// slashes.
func baseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if u.Scheme == "" || u.Hostname() == "" {
		return "", fmt.Errorf("%w: %q is not an absolute URL", ErrInvalid, u.Redacted())
	}
	if strings.ContainsAny(s, "?#") {
		return "", fmt.Errorf("%w: %q has a query or a fragment", ErrInvalid, u.Redacted())
	}
	return strings.TrimRight(s, "/"), nil
}
