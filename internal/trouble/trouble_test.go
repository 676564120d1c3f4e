package trouble

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
)

// asked is an error as an HTTP client returns it, of a node that is asked for a link.
func asked(err error) error {
	return &cdn.Error{Op: "link", Node: "https://o1.example.com", Err: fmt.Errorf("%w: %w", cdn.ErrPeerLost, &url.Error{Op: "Post", URL: "https://o1.example.com/link/", Err: err})}
}

func dialing(err error) error {
	return asked(&net.OpError{Op: "dial", Net: "tcp", Err: err})
}

type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

func TestCauses(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want Cause // "": nobody has to do anything
	}{
		{"nothing", nil, ""},
		{"nobody publishes", &cdn.Error{Op: "fetch", Err: cdn.ErrNotFound}, ""},
		{"the stream has ended", cdn.ErrEnded, ""},
		{"full", cdn.ErrOverLimit, ""},
		{"leaving", cdn.ErrDraining, ""},
		{"a node that died", cdn.ErrPeerLost, ""},
		{"a stream that takes long", fmt.Errorf("%w: %w", cdn.ErrTimeout, context.DeadlineExceeded), ""},
		{"closing", asked(cdn.ErrClosed), ""},
		{"given up", asked(context.Canceled), ""},
		{"a connection that ended", fmt.Errorf("%w: DTLS: %w", cdn.ErrPeerLost, io.EOF), ""},
		{"a detour", &cdn.Error{Op: "fetch", Err: cdn.ErrLoop}, ""},

		{"no secret", fmt.Errorf("%w: %w", ErrUntrusted, cdn.ErrUnauthorized), Untrusted},
		{"clocks, with a secret that is right", fmt.Errorf("%w: %w", ErrUntrusted, errors.Join(&ClockError{-5 * time.Minute}, cdn.ErrUnauthorized)), Clocks},
		{"unknown name", dialing(&net.DNSError{Err: "no such host", Name: "o1", IsNotFound: true}), NoName},
		{"DNS is away", dialing(&net.DNSError{Err: "i/o timeout", Name: "o1", IsTimeout: true, IsTemporary: true}), DNS},
		{"DNS fails", dialing(&net.DNSError{Err: "server misbehaving", Name: "o1", IsTemporary: true}), DNS},
		{"closed port", dialing(os.NewSyscallError("connect", syscall.ECONNREFUSED)), Refused},
		{"no route", dialing(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), Unreachable},
		{"no network", dialing(os.NewSyscallError("connect", syscall.ENETUNREACH)), Unreachable},
		{"dropped", dialing(timeout{}), NoAnswer},
		{"late", asked(context.DeadlineExceeded), NoAnswer},
		{"late, by another protocol", fmt.Errorf("%w: %w: %w", cdn.ErrTimeout, ErrNoAnswer, context.DeadlineExceeded), NoAnswer},
		{"SSH", asked(errors.New(`net/http: HTTP/1.x transport connection broken: malformed HTTP response "SSH-2.0-OpenSSH_9.2"`)), NotHTTP},
		{"hangs up", asked(io.EOF), NotHTTP},
		{"resets", asked(os.NewSyscallError("read", syscall.ECONNRESET)), NotHTTP},
		{"hangs up while the request is written", asked(os.NewSyscallError("write", syscall.EPIPE)), NotHTTP},
		{"likewise, by a pipe", asked(io.ErrClosedPipe), NotHTTP},
		{"a web server", &cdn.Error{Op: "link", Err: fmt.Errorf("%w: %w", cdn.ErrUnsupported, &ForeignError{Status: "404 Not Found", Kind: "text/html"})}, Foreign},
		{"a web server with a password", fmt.Errorf("%w: %w", ErrUntrusted, errors.Join(cdn.ErrUnauthorized, &ForeignError{Status: "401 Unauthorized", Kind: "text/html"})), Foreign},
		{"a proxy", fmt.Errorf("%w: %w", cdn.ErrPeerLost, &ProxyError{Status: "502 Bad Gateway"}), ProxyFails},
		{"moved", fmt.Errorf("%w: %w", cdn.ErrPeerLost, &RedirectError{To: "https://o2.example.com/link/"}), Redirect},
		{"moved in a circle", asked(&RedirectError{To: "https://o2.example.com/link/"}), Redirect},
		{"a scheme of nobody's", asked(errors.New(`unsupported protocol scheme "htpp"`)), BadEntry},
		{"https to http", asked(http.ErrSchemeMismatch), PlainPort},
		{"http to https", fmt.Errorf("%w: %w", cdn.ErrPeerLost, ErrTLSPort), TLSPort},
		{"http to https, by an alert", asked(errors.New(`net/http: HTTP/1.x transport connection broken: malformed HTTP response "\x15\x03\x01\x00\x02\x02\x46"`)), TLSPort},
		{"unknown CA", asked(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), UnknownCA},
		{"expired", asked(&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}), OutOfDate},
		{"another name", asked(&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "o1"}}), OtherName},
		{"no certificate for servers", asked(&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}}), TLS},
		{"alert", asked(tls.AlertError(40)), TLS},
		{"UDP", fmt.Errorf("%w: %w: no connection within 5s", cdn.ErrTimeout, ErrNoUDP), NoUDP},
		{"IPv4 and IPv6", fmt.Errorf("%w: %w", ErrNoCommonFamily, cdn.ErrUnsupported), NoCommonFamily},
		{"versions", fmt.Errorf("%w: %w", cdn.ErrUnsupported, control.ErrVersion), Version},
		{"one name", fmt.Errorf("%w: %w", cdn.ErrSuperseded, ErrNamesake), Namesake},
		{"itself", fmt.Errorf("%w: %w", cdn.ErrLoop, ErrSelf), Self},
		{"a circle", fmt.Errorf("%w: %w", cdn.ErrLoop, ErrCircle), Circle},
		{"an Authorizer", &cdn.Error{Op: "link", Node: "o1", Err: cdn.ErrForbidden}, Refusal},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := Of(c.err)
			require.Equal(t, c.want, got.Cause)
			require.Equal(t, c.want != "", ok)
			if c.err == nil {
				return
			}
			told := Upstream("live", c.err)
			require.Equal(t, ok, errors.Is(told, cdn.ErrUpstream), "what a client is told: %v", told)
			if ok {
				require.Equal(t, "upstream", cdn.ErrorCode(told), "no client reads a node's own misconfiguration")
			}
		})
	}
}

// Every cause has one line, in sentences, and a section in the documentation.
func TestCausesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/troubleshooting.md")
	require.NoError(t, err)
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^#+ .*`([a-z-]+)`").FindAllStringSubmatch(string(text), -1) {
		require.False(t, documented[m[1]], "%s has two sections", m[1])
		documented[m[1]] = true
	}
	seen := map[Cause]bool{}
	for _, trouble := range All {
		require.False(t, seen[trouble.Cause], trouble.Cause)
		seen[trouble.Cause] = true
		require.Regexp(t, `^[A-Z].*\.$`, trouble.Sentence)
		require.Regexp(t, `^[A-Z].*[.A-Z]$`, trouble.Do)
		require.True(t, documented[string(trouble.Cause)], "docs/troubleshooting.md has no section on `%s`", trouble.Cause)
		require.Contains(t, string(text), trouble.Sentence, "the sentence of the log")
	}
	for cause := range documented {
		require.True(t, seen[Cause(cause)] || strings.HasPrefix(cause, "public-"), "no line says `%s`", cause)
	}
}

func TestReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := NewReporter(slog.New(slog.NewTextHandler(&log, nil)))
		lines := func() int { return strings.Count(log.String(), "\n") }
		refused := dialing(os.NewSyscallError("connect", syscall.ECONNREFUSED))
		for range 600 { // for ten minutes
			r.Wrong("http://a", refused, "url", "http://a")
			r.Wrong("http://a", cdn.ErrForbidden) // what is refused there is explained
			r.Wrong("http://a", cdn.ErrNotFound)
			time.Sleep(time.Second)
		}
		require.Equal(t, 2, lines(), log.String())
		require.Contains(t, log.String(), `level=WARN msg="Nothing listens at the address and port of the entry."`)
		require.Contains(t, log.String(), "cause=connection-refused")
		require.Contains(t, log.String(), "times=3")
		for range 3 {
			r.Wrong("http://b", refused)
			time.Sleep(time.Second)
		}
		require.Equal(t, 3, lines(), "another place")
		r.Well("http://a", "url", "http://a")
		r.Well("http://a", "url", "http://a")
		require.Equal(t, 4, lines())
		require.Contains(t, log.String(), "level=INFO")
		require.Contains(t, log.String(), "after=10m3s")
		r.Wrong("http://a", cdn.ErrForbidden)
		require.Contains(t, log.String(), "cause=node-refuses", "now it is the only one")
	})
}
