package trouble

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/trouble/reason"
)

// Errors that say more than a sentinel of package cdn does. They are wrapped beside one.
var (
	// ErrUntrusted: one of two nodes refuses a link with the other.
	ErrUntrusted = errors.New("no trust")
	// ErrNoAnswer: signaling took too long.
	ErrNoAnswer = errors.New("no answer in time")
	// ErrNoUDP: signaling went through, and nothing else.
	ErrNoUDP = errors.New("no UDP")
	// ErrNamesake: another process has the name of this node, or of the one that asks.
	ErrNamesake = errors.New("another node has this name")
	// ErrSelf: a node asks itself for a link.
	ErrSelf = errors.New("that is this node")
	// ErrNoCommonFamily: one node has IPv4 only, and the other IPv6 only.
	ErrNoCommonFamily = errors.New("no kind of address in common")
	// ErrTLSPort: plain HTTP was sent to a server that expects TLS.
	ErrTLSPort = errors.New("that server expects https")
	// ErrCircle: whoever is asked for a stream asks back.
	ErrCircle = errors.New("every node that is asked asks another of the same circle")
)

// A ForeignError says that what answered a request for a link does not know such.
type ForeignError struct {
	Status string // of HTTP
	Kind   string // the media type of the answer
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("HTTP status %s with %q", e.Status, e.Kind)
}

// A ProxyError says that a proxy answers in place of the node behind it.
type ProxyError struct{ Status string } // of HTTP

func (e *ProxyError) Error() string { return "HTTP status " + e.Status + " by a proxy" }

// A RedirectError says where a request was sent that cannot be sent there.
type RedirectError struct{ To string }

func (e *RedirectError) Error() string { return "redirected to " + e.To }

// A ClockError says by how much the clock of another node is ahead of this one's.
type ClockError struct{ Ahead time.Duration }

func (e *ClockError) Error() string {
	if e.Ahead < 0 {
		return fmt.Sprintf("the other node's clock is %v behind", -e.Ahead.Round(time.Second))
	}
	return fmt.Sprintf("the other node's clock is %v ahead", e.Ahead.Round(time.Second))
}

// Of returns the trouble that is behind an error of what one node asks of another, and
// false if there is none that somebody has to do something about, as far as it is known:
// the stream is not published, a limit is reached, or this node is closing.
func Of(err error) (Trouble, bool) {
	if err == nil || errors.Is(err, cdn.ErrClosed) || errors.Is(err, context.Canceled) {
		return Trouble{}, false
	}
	for _, find := range []func(error) Cause{ofNodes, ofTLS, ofNetwork} {
		if c := find(err); c != "" {
			return lookUp(c), true
		}
	}
	if reason.Refused(err) != nil {
		return lookUp(Refusal), true
	}
	return Trouble{}, false
}

// Upstream returns what err, for which a stream cannot be had from other nodes, is to a
// client of this node: [cdn.ErrUpstream] if a misconfiguration is behind it, which is none
// of the client's, and err itself otherwise.
func Upstream(stream cdn.StreamID, err error) error {
	if _, ok := Of(err); ok && reason.Refused(err) == nil && !errors.Is(err, cdn.ErrUpstream) {
		return &cdn.Error{Op: "fetch", Stream: stream, Err: fmt.Errorf("%w: %s", cdn.ErrUpstream, err.Error())}
	}
	return reason.Upstream(stream, err)
}

// ofNodes finds what nodes say themselves.
func ofNodes(err error) Cause {
	var foreign *ForeignError
	var proxy *ProxyError
	var redirect *RedirectError
	var clock *ClockError
	switch {
	case errors.As(err, &proxy):
		return ProxyFails
	case errors.As(err, &redirect):
		return Redirect
	case errors.As(err, &foreign): // whatever its status seems to say
		return Foreign
	case errors.As(err, &clock):
		return Clocks
	case errors.Is(err, ErrNamesake):
		return Namesake
	case errors.Is(err, ErrSelf):
		return Self
	case errors.Is(err, ErrUntrusted):
		return Untrusted
	case errors.Is(err, ErrNoUDP):
		return NoUDP
	case errors.Is(err, ErrNoCommonFamily):
		return NoCommonFamily
	case errors.Is(err, control.ErrVersion):
		return Version
	case errors.Is(err, ErrTLSPort):
		return TLSPort
	case errors.Is(err, ErrCircle):
		return Circle
	}
	return ""
}

func ofTLS(err error) Cause {
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var verification *tls.CertificateVerificationError
	var alert tls.AlertError
	var header tls.RecordHeaderError
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return PlainPort
	case errors.As(err, &authority):
		return UnknownCA
	case errors.As(err, &name):
		return OtherName
	case errors.As(err, &invalid):
		switch invalid.Reason { //nolint:exhaustive // the others are about what a certificate may do
		case x509.Expired:
			return OutOfDate
		case x509.NotAuthorizedToSign:
			return UnknownCA
		}
		return TLS
	case errors.As(err, &verification), errors.As(err, &alert), errors.As(err, &header):
		return TLS
	}
	return ""
}

func ofNetwork(err error) Cause {
	var dns *net.DNSError
	var network net.Error
	var request *url.Error
	text, ofHTTP := err.Error(), errors.As(err, &request)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return NoName
	case errors.As(err, &dns):
		return DNS
	case strings.Contains(text, "unsupported protocol scheme"), strings.Contains(text, "no Host in request URL"):
		return BadEntry
	case strings.Contains(text, `malformed HTTP response "\x15\x03`): // a TLS alert
		return TLSPort
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return Unreachable
	case errors.Is(err, ErrNoAnswer):
		return NoAnswer
	case !ofHTTP:
		return ""
	case errors.As(err, &network) && network.Timeout():
		return NoAnswer
	case strings.Contains(text, "malformed HTTP"), hungUp(err):
		return NotHTTP
	}
	return ""
}

// hungUp reports whether the other side closed the connection instead of answering:
// ahead of the request, while that was being written, or after it.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
