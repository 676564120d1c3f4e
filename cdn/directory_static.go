package cdn

import (
	"context"
	"errors"
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
// Find fails with an [*EntryError] that says which and why, and so does the making of
// a relay with this Directory. Without any
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

// Nodes returns the nodes that every stream may come from, so that links with them can
// be kept ready. Who they are is not known.
func (d static) Nodes(ctx context.Context) ([]NodeEntry, error) {
	if err := ctx.Err(); err != nil {
		return nil, &Error{Op: "find nodes", Err: err}
	}
	if d.err != nil {
		return nil, &Error{Op: "find nodes", Err: d.err}
	}
	nodes := make([]NodeEntry, len(d.urls))
	for i, u := range d.urls {
		nodes[i] = NodeEntry{URL: u}
	}
	return nodes, nil
}

func (d static) PutNode(ctx context.Context, _ NodeEntry, _ time.Duration) error { return ctx.Err() }

func (d static) RemoveNode(ctx context.Context, _ NodeID) error { return ctx.Err() }

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
	entries := make([]Entry, len(d.urls))
	for i, u := range d.urls {
		entries[i] = Entry{Stream: id, URL: u}
	}
	return entries, nil
}

// baseURL returns s, the address of a node's signaling, without trailing
// slashes.
func baseURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return "", &EntryError{Problem: "it is empty"}
	case !strings.Contains(s, "://") && !strings.HasPrefix(s, "/") && !strings.ContainsAny(s, " @"):
		return "", &EntryError{URL: s, Problem: "it has no scheme: write https://" + s + " or http://" + s}
	case err != nil:
		var parsing *url.Error
		if errors.As(err, &parsing) {
			err = parsing.Err // without the URL, which may have a password
		}
		return "", &EntryError{Problem: "it is not a URL: " + err.Error()}
	case u.Scheme == "" || u.Hostname() == "":
		return "", &EntryError{URL: u.Redacted(), Problem: "it is not a URL with a scheme and a host, such as https://o1.example.com"}
	case strings.ContainsAny(s, "?#"):
		return "", &EntryError{URL: u.Redacted(), Problem: "it has a query or a fragment"}
	}
	return strings.TrimRight(s, "/"), nil
}

// An EntryError says what is wrong with the URL of a node. It wraps [ErrInvalid].
type EntryError struct {
	URL     string // without a password; "" where it cannot be read
	Problem string
}

func (e *EntryError) Error() string {
	if e.URL == "" {
		return "entry of a node: " + e.Problem
	}
	return fmt.Sprintf("entry %q of a node: %s", e.URL, e.Problem)
}

// Unwrap returns [ErrInvalid].
func (e *EntryError) Unwrap() error { return ErrInvalid }
