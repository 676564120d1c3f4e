// Package conformance holds what WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep)
// ask of a server, as a table of checks over HTTP. Its test runs them against the
// handlers of this module; they know nothing of those but their URLs.
package conformance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// A Level is how much a rule is asked for (RFC 2119).
type Level string

// The levels.
const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
	May    Level = "MAY"
)

// A Rule is one demand.
type Rule struct {
	Number  string // in the project's list of them
	Level   Level
	Section string // of RFC 9725, or of the document that it names
	Text    string // quoted from there
	Only    string // "whip" or "whep"; "": both
	Check   func(ctx context.Context, t *Target) error
}

// A Target is a server to be checked. It is used by one goroutine.
type Target struct {
	Endpoint string // of a stream that may be published (WHIP), or is (WHEP)
	Absent   string // WHEP: endpoint of a stream that nobody publishes
	Playback bool   // it is WHEP
	Token    string // bearer token, "" if none is needed

	made []string // sessions
}

// A response is an answer whose body has been read.
type response struct {
	*http.Response
	body string
}

// do makes a request, with header lines of "Name: value", where "Name: " takes one out,
// and follows no redirects.
func (t *Target) do(ctx context.Context, method, target, body string, header ...string) (*response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if t.Token != "" && method != http.MethodOptions {
		req.Header.Set("Authorization", "Bearer "+t.Token)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if req.Header.Set(name, value); value == "" {
			req.Header.Del(name)
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return &response{resp, string(text)}, err
}

const (
	typeSDP      = "Content-Type: application/sdp"
	typeFragment = "Content-Type: application/trickle-ice-sdpfrag"
)

// post posts an offer.
func (t *Target) post(ctx context.Context, offer string) (*response, error) {
	resp, err := t.do(ctx, http.MethodPost, t.Endpoint, offer, typeSDP)
	if err == nil && resp.StatusCode == http.StatusCreated {
		if session, err := resp.Location(); err == nil {
			t.made = append(t.made, session.String())
		}
	}
	return resp, err
}

// A session is one that was made.
type session struct {
	url    string
	etag   string
	answer string
	header http.Header
}

// create makes a session of an offer, or fails.
func (t *Target) create(ctx context.Context, offer string) (*session, error) {
	resp, err := t.post(ctx, offer)
	if err != nil {
		return nil, err
	}
	if err := resp.wants(http.StatusCreated); err != nil {
		return nil, err
	}
	location, err := resp.Location()
	if err != nil {
		return nil, err
	}
	return &session{location.String(), resp.Header.Get("ETag"), resp.body, resp.Header}, nil
}

// patch sends a fragment with If-Match, if that is not empty.
func (t *Target) patch(ctx context.Context, s *session, fragment, match string) (*response, error) {
	header := []string{typeFragment}
	if match != "" {
		header = append(header, "If-Match: "+match)
	}
	return t.do(ctx, http.MethodPatch, s.url, fragment, header...)
}

// clean deletes the sessions that were made.
func (t *Target) clean(ctx context.Context) {
	for _, one := range t.made {
		_, _ = t.do(ctx, http.MethodDelete, one, "")
	}
	t.made = nil
}

// Run checks a rule, and leaves nothing behind.
func (t *Target) Run(ctx context.Context, r Rule) error {
	defer t.clean(ctx)
	return r.Check(ctx, t)
}

// wants fails unless the status is one of those.
func (r *response) wants(statuses ...int) error {
	for _, s := range statuses {
		if r.StatusCode == s {
			return nil
		}
	}
	return fmt.Errorf("%s %s: %s, not one of %v: %.200s", r.Request.Method, path(r.Request.URL), r.Status, statuses, r.body)
}

// wants4xx fails unless the client is refused.
func (r *response) wants4xx() error {
	if r.StatusCode/100 == 4 {
		return nil
	}
	return fmt.Errorf("%s %s: %s, not 4xx", r.Request.Method, path(r.Request.URL), r.Status)
}

func path(u *url.URL) string { return u.Path }

// offer returns an offer of sound and picture in the direction of the target.
func (t *Target) offer(edits ...string) string {
	direction := "sendonly"
	if t.Playback {
		direction = "recvonly"
	}
	return strings.NewReplacer(edits...).Replace(strings.ReplaceAll(offer, "DIRECTION", direction))
}

// offer is that of RFC 9725 figure 2, in substance.
var offer = strings.ReplaceAll(`v=0
o=- 5228595038118931041 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=ice-options:trickle ice2
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=fingerprint:sha-256 DA:7B:57:DC:28:CE:04:4F:31:79:85:C4:31:67:EB:27:58:29:ED:77:2A:0D:24:AE:ED:AD:30:BC:BD:F1:9C:02
a=setup:actpass
a=mid:0
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=DIRECTION
a=msid:- d46fb922-d52a-4e9c-aa87-444eadc1521b
a=rtcp-mux
a=rtcp-mux-only
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=ssrc:1001 cname:x
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=fingerprint:sha-256 DA:7B:57:DC:28:CE:04:4F:31:79:85:C4:31:67:EB:27:58:29:ED:77:2A:0D:24:AE:ED:AD:30:BC:BD:F1:9C:02
a=setup:actpass
a=mid:1
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=DIRECTION
a=msid:- d46fb922-d52a-4e9c-aa87-444eadc1521b
a=rtcp-mux
a=rtcp-mux-only
a=rtcp-rsize
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 ccm fir
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=ssrc:1002 cname:x
`, "\n", "\r\n")
