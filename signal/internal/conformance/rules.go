package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// Rules are what can be seen by HTTP alone. Who runs them against WHEP has the
// stream of Target.Endpoint published with Opus and VP8.
var Rules = []Rule{
	{"1", Must, "4.2", `return a "201 Created" response with a content type of "application/sdp", the SDP answer as the body, and a Location header field`, "", created},
	{"2", Must, "4.2", `If the HTTP POST [...] has a content type different than "application/sdp" or the SDP is malformed, the WHIP endpoint MUST reject [it] with an appropriate 4XX`, "", refusesOtherBodies},
	{"3", Must, "4.1", `the WHIP endpoints and sessions MUST return a 2XX successful response with no content when a GET request is received`, "", getsNothing},
	{"4", Should, "WHEP-04", `HEAD of the endpoint: 200 with Content-Type application/sdp`, "whep", headsType},
	{"5", Must, "4.2", `MUST support OPTIONS requests for Cross-Origin Resource Sharing [...] SHOULD include an "Accept-Post" header with a media type value of "application/sdp"`, "", preflights},
	{"6", Should, "4.6", `STUN/TURN Links are in the 201, and not in a CORS preflight's answer`, "", preflightsHaveNoLinks},
	{"7", Must, "4.2", `SHOULD use "sendonly" [WHEP: recvonly] but MAY use "sendrecv"; "inactive" and "recvonly" [sendonly] attributes MUST NOT be used [...] The endpoint MUST use "recvonly" [sendonly] in the SDP answer`, "", directions},
	{"8", Must, "4.2", `Upon receiving the HTTP DELETE request, the WHIP session will be removed; MUST ignore any entity-tag value [...] as in the HTTP DELETE request`, "", deletes},
	{"9", Must, "4.3.1", `If the HTTP PATCH [...] has a content type different than "application/trickle-ice-sdpfrag" or the SDP fragment is malformed, the WHIP session MUST reject [it] with an appropriate 4XX`, "", refusesOtherFragments},
	{"11", Must, "4.3.1", `a unique strong entity-tag identifying the ICE session [...] MUST be returned in an ETag header field in the "201 Created" response`, "", tagged},
	{"12", Must, "4.3.1", `a "428 Precondition Required" response for a missing entity tag, and a "412 Precondition Failed" response for a non-matching entity tag`, "", preconditions},
	{"13", Must, "4.3.2", `MUST return a "204 No Content" response without a body and MUST NOT include an ETag [...] If the WHIP session does not support a candidate transport or is not able to resolve the connection address, it MUST silently discard the candidate`, "", trickles},
	{"14", Must, "4.3.3", `SHALL return a "200 OK" with [a] body containing the new ICE username fragment and password [...] MUST contain the new entity-tag [...] MUST ensure that [bodies] include the same 'ice-options,' 'ice-pacing,' and 'ice-lite' attributes as those used in the SDP offer or answer`, "", restarts},
	{"14", Must, "4.3.3", `If the ICE restart request cannot be satisfied [...] MUST NOT terminate the session immediately and keep the existing ICE session`, "", keepsAfterFailedRestart},
	{"15", Must, "4.3.3", `requests and responses might be received out of order [...] apply only the ICE information received in the response to the last sent request`, "", lastRestartWins},
	{"16", Must, "4.4.1", `SHALL support [...] and use "max-bundle" [...] SHALL use RTP/RTCP multiplexing for all bundled media`, "", bundles},
	{"17", May, "4.4.2", `MUST NOT have two or more MediaStreamTracks for the same media: taken, or refused with 400 or 422`, "whip", severalTracks},
	{"18", Should, "4.4.3", `the endpoint SHOULD NOT reject individual m= sections`, "whip", noPartialAnswers},
	{"19", Must, "4.4.4", `the client offers setup:actpass and the endpoint answers active or passive`, "", setups},
	{"22", May, "4.6", `STUN/TURN servers are Links of rel="ice-server" in the "201 Created" response`, "", linksServers},
	{"23", Must, "4.7.1", `send the HTTP Authorization header field in all HTTP requests [...] except the preflight OPTIONS requests`, "", preflightsNeedNoToken},
	{"25", Must, "4.9", `one "Link" header field for each extension [...] players MUST ignore any Link attribute with an unknown "rel": no extension is required`, "whep", linksExtensions},
	{"26", Must, "WHEP, Playback session set up", `SHALL return a "409 Conflict" response [...] with a "Retry-After" header`, "whep", conflictsWithoutPublisher},
	{"27", Should, "5", `session URLs cannot be guessed`, "", unguessable},
	{"30", Must, "RFC 6750 2 and 3.1", `Clients MUST NOT use more than one method to transmit the token in each request [...] the resource server SHOULD respond with the HTTP 400 (Bad Request) status code`, "", refusesTwoTokens},
	{"31", Should, "RFC 6750 2.3", `Server success (2XX status) responses to these requests SHOULD contain a Cache-Control header with the "private" option`, "", keepsURLTokensPrivate},
	{"32", Must, "RFC 6750 3", `If the protected resource request does not include authentication credentials or does not contain an access token that enables access [...] the resource server MUST include the HTTP "WWW-Authenticate" response header field`, "", challenges},
}

// failures joins what is wrong.
func failures(all ...error) error { return errors.Join(all...) }

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func created(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	kind, _, _ := strings.Cut(s.header.Get("Content-Type"), ";")
	return failures(
		check(kind == "application/sdp", "the answer is of type %q", s.header.Get("Content-Type")),
		check(strings.HasPrefix(s.answer, "v=0"), "the answer is %.40q", s.answer),
		check(strings.Count(s.answer, "\nm=") == 2, "the answer has not as many sections as the offer"),
	)
}

func refusesOtherBodies(ctx context.Context, t *Target) error {
	var bad error
	for _, c := range []struct{ body, kind string }{
		{t.offer(), "text/plain"},
		{t.offer(), "application/json"},
		{"{}", "application/sdp"},
		{"v=0", "application/sdp"},
		{"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", "application/sdp"},
		{"\x00\xff", "application/sdp"},
	} {
		resp, err := t.do(ctx, http.MethodPost, t.Endpoint, c.body, "Content-Type: "+c.kind)
		if err == nil {
			err = resp.wants4xx()
		}
		bad = errors.Join(bad, err)
	}
	return bad
}

func getsNothing(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	var bad error
	for _, url := range []string{t.Endpoint, s.url} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp, err := t.do(ctx, method, url, "")
			if err != nil {
				return err
			}
			bad = errors.Join(bad, resp.wants(200, 204), check(resp.body == "", "%s has content", method))
		}
	}
	return bad
}

func headsType(ctx context.Context, t *Target) error {
	resp, err := t.do(ctx, http.MethodHead, t.Endpoint, "")
	if err != nil {
		return err
	}
	kind := resp.Header.Get("Content-Type")
	return failures(resp.wants(200), check(kind == "application/sdp", "it is of type %q", kind))
}

func preflights(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	var bad error
	for url, method := range map[string]string{t.Endpoint: "POST", s.url: "PATCH"} {
		resp, err := t.do(ctx, http.MethodOptions, url, "", "Origin: https://example.com", "Access-Control-Request-Method: "+method)
		if err != nil {
			return err
		}
		bad = errors.Join(bad, resp.wants(200, 204),
			check(resp.Header.Get("Access-Control-Allow-Origin") != "", "no origin is allowed"),
			check(strings.Contains(resp.Header.Get("Access-Control-Allow-Methods"), method), "%s is not allowed", method))
		if method == "POST" {
			bad = errors.Join(bad, check(resp.Header.Get("Accept-Post") == "application/sdp", "no Accept-Post"))
		}
	}
	for _, name := range []string{"Location", "ETag", "Link"} {
		bad = errors.Join(bad, check(strings.Contains(s.header.Get("Access-Control-Expose-Headers"), name), "pages do not see %s", name))
	}
	return bad
}

func preflightsHaveNoLinks(ctx context.Context, t *Target) error {
	resp, err := t.do(ctx, http.MethodOptions, t.Endpoint, "", "Origin: https://example.com", "Access-Control-Request-Method: POST")
	if err != nil {
		return err
	}
	return check(len(resp.Header.Values("Link")) == 0, "Links: %q", resp.Header.Values("Link"))
}

func directions(ctx context.Context, t *Target) error {
	ours, theirs := "sendonly", "recvonly"
	if t.Playback {
		ours, theirs = theirs, ours
	}
	var bad error
	for _, d := range []string{ours, "sendrecv"} {
		s, err := t.create(ctx, t.offer("a="+ours, "a="+d))
		if err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
		bad = errors.Join(bad, check(strings.Count(s.answer, "a="+theirs) == 2, "%s is answered %q", d, s.answer))
		t.clean(ctx)
	}
	for _, d := range []string{"inactive", theirs} {
		resp, err := t.post(ctx, t.offer("a="+ours, "a="+d))
		if err != nil {
			return err
		}
		if err := resp.wants(400, 422); err != nil {
			bad = errors.Join(bad, fmt.Errorf("%s: %w", d, err))
		}
		t.clean(ctx)
	}
	return bad
}

func deletes(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	first, err := t.do(ctx, http.MethodDelete, s.url, "", `If-Match: "another"`)
	if err != nil {
		return err
	}
	second, err := t.do(ctx, http.MethodDelete, s.url, "")
	if err != nil {
		return err
	}
	return failures(first.wants(200), second.wants(404, 410))
}

func refusesOtherFragments(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	var bad error
	for _, c := range []struct{ body, kind string }{
		{candidate, "text/plain"},
		{candidate, "application/json"},
		{"nonsense", "application/trickle-ice-sdpfrag"},
		{"a=ice-ufrag:half", "application/trickle-ice-sdpfrag"},
	} {
		resp, err := t.do(ctx, http.MethodPatch, s.url, c.body, "Content-Type: "+c.kind, "If-Match: "+s.etag)
		if err != nil {
			return err
		}
		bad = errors.Join(bad, resp.wants4xx())
	}
	return bad
}

func tagged(ctx context.Context, t *Target) error {
	a, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	t.clean(ctx)
	b, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	return failures(
		check(strings.HasPrefix(a.etag, `"`) && len(a.etag) > 2, "the tag is %s", a.etag),
		check(a.etag != b.etag, "two sessions have the tag %s", a.etag),
	)
}

const (
	credentials = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
	candidate   = "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n"
)

func preconditions(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	fragment := credentials + "m=audio 9 RTP/AVP 0\r\na=mid:0\r\n" + candidate
	missing, err := t.patch(ctx, s, fragment, "")
	if err != nil {
		return err
	}
	stale, err := t.patch(ctx, s, fragment, `"another"`)
	if err != nil {
		return err
	}
	statuses := []int{428}
	if t.Playback {
		statuses = append(statuses, 204) // players in use leave it out
	}
	return failures(missing.wants(statuses...), stale.wants(412))
}

func trickles(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	var bad error
	for name, lines := range map[string]string{
		"a good one": candidate, "none": "", "the end": "a=end-of-candidates\r\n",
		"TCP":               "a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag EsAw network-id 1\r\n" + candidate,
		"unknown transport": "a=candidate:1 1 sctp 1 192.0.2.1 61764 typ host\r\n" + candidate,
		"mDNS":              "a=candidate:1 1 udp 1 39621671-ecc0-4775-b948-adf7c8158182.local 53191 typ host\r\n",
		"a name":            "a=candidate:1 1 udp 1 no-such-host.invalid 53191 typ host\r\n" + candidate,
		"IPv6":              "a=candidate:1 1 UDP 1 2001:db8::1 53191 typ host\r\n",
		"RTCP's component":  "a=candidate:1 2 udp 1 192.0.2.1 53191 typ host\r\n",
		"port 0":            "a=candidate:1 1 udp 1 192.0.2.1 0 typ host\r\n",
		"unknown type":      "a=candidate:1 1 udp 1 192.0.2.1 53191 typ new\r\n",
		"cut short":         "a=candidate:1 1 udp\r\n",
		"nothing in it":     "a=candidate:\r\n",
	} {
		resp, err := t.patch(ctx, s, credentials+"m=audio 9 RTP/AVP 0\r\na=mid:0\r\n"+lines, s.etag)
		if err != nil {
			return err
		}
		if err := failures(resp.wants(204), check(resp.body == "", "a body"), check(resp.Header.Get("ETag") == "", "an ETag")); err != nil {
			bad = errors.Join(bad, fmt.Errorf("%s: %w", name, err))
		}
	}
	return bad
}

func restart(ufrag string) string {
	return "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" +
		"a=ice-ufrag:" + ufrag + "\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n" + candidate +
		"a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host generation 0 ufrag EsAw network-id 2\r\n"
}

var (
	ufragLine = regexp.MustCompile(`(?m)^a=ice-ufrag:(\S+)`)
	pwdLine   = regexp.MustCompile(`(?m)^a=ice-pwd:(\S{22,})`)
	hostLine  = regexp.MustCompile(`(?m)^a=candidate:\S+ (\d) `)
	iceLines  = regexp.MustCompile(`(?m)^a=ice-(lite|options|pacing)\S*`)
)

func restarts(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	resp, err := t.patch(ctx, s, restart("ysXw"), "*")
	if err != nil {
		return err
	}
	bad := failures(
		resp.wants(200),
		check(resp.Header.Get("Content-Type") == "application/trickle-ice-sdpfrag", "it is of type %q", resp.Header.Get("Content-Type")),
		check(resp.Header.Get("ETag") != "" && resp.Header.Get("ETag") != s.etag, "the tag was %s and is %s", s.etag, resp.Header.Get("ETag")),
		check(ufragLine.MatchString(resp.body) && ufragLine.FindString(resp.body) != ufragLine.FindString(s.answer), "no new user name fragment: %s", resp.body),
		check(pwdLine.MatchString(resp.body) && pwdLine.FindString(resp.body) != pwdLine.FindString(s.answer), "no new password: %s", resp.body),
		check(hostLine.MatchString(resp.body), "no candidates"),
	)
	for _, line := range iceLines.FindAllString(s.answer, -1) {
		bad = errors.Join(bad, check(strings.Contains(resp.body, line), "%s is missing", line))
	}
	for _, one := range hostLine.FindAllStringSubmatch(s.answer+resp.body, -1) {
		bad = errors.Join(bad, check(one[1] == "1", "a candidate of component %s, though RTCP goes with RTP", one[1]))
	}
	old, err := t.patch(ctx, s, credentials+candidate, s.etag)
	if err != nil {
		return err
	}
	return failures(bad, old.wants(412))
}

func keepsAfterFailedRestart(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	var bad error
	for _, fragment := range []string{
		"a=ice-ufrag:ysXw\r\n", "a=ice-ufrag:ysXw\r\na=ice-pwd:short\r\n",
		restart("ysXw") + candidate + "no line of SDP\r\n",
	} {
		resp, err := t.patch(ctx, s, fragment, "*")
		if err != nil {
			return err
		}
		bad = errors.Join(bad, resp.wants4xx())
	}
	resp, err := t.patch(ctx, s, credentials+"m=audio 9 RTP/AVP 0\r\na=mid:0\r\n"+candidate, s.etag)
	if err != nil {
		return err
	}
	return failures(bad, resp.wants(204))
}

func lastRestartWins(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	first, err := t.patch(ctx, s, restart("aaaa"), "*")
	if err != nil {
		return err
	}
	last, err := t.patch(ctx, s, restart("bbbb"), "*")
	if err != nil {
		return err
	}
	fragment := func(ufrag string) string {
		return "a=ice-ufrag:" + ufrag + "\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n" + candidate
	}
	late, err := t.patch(ctx, s, fragment("aaaa"), first.Header.Get("ETag"))
	if err != nil {
		return err
	}
	now, err := t.patch(ctx, s, fragment("bbbb"), last.Header.Get("ETag"))
	if err != nil {
		return err
	}
	bad := failures(first.wants(200), last.wants(200), late.wants(412), now.wants(204))
	if t.Playback { // late candidates without a tag are not a restart either
		late, err := t.patch(ctx, s, fragment("aaaa"), "")
		if err != nil {
			return err
		}
		bad = errors.Join(bad, late.wants(204, 428))
	}
	return bad
}

func bundles(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	bad := failures(
		check(strings.Contains(s.answer, "a=group:BUNDLE 0 1\r\n"), "the sections are not bundled"),
		check(strings.Count(s.answer, "a=rtcp-mux\r\n") == 2, "RTCP is not multiplexed"),
	)
	t.clean(ctx)
	for name, edit := range map[string][]string{
		"no bundle":   {"a=group:BUNDLE 0 1\r\n", "", "a=rtcp-mux-only\r\n", ""},
		"no rtcp-mux": {"a=rtcp-mux\r\n", "", "a=rtcp-mux-only\r\n", ""},
	} {
		resp, err := t.post(ctx, t.offer(edit...))
		if err != nil {
			return err
		}
		if err := resp.wants(201, 400, 422); err != nil {
			bad = errors.Join(bad, fmt.Errorf("%s: %w", name, err))
		}
		t.clean(ctx)
	}
	return bad
}

func severalTracks(ctx context.Context, t *Target) error {
	o := t.offer()
	video := o[strings.Index(o, "m=video"):]
	second := strings.NewReplacer("a=mid:1", "a=mid:2", "d46fb922", "e46fb922", "1002", "1003").Replace(video)
	resp, err := t.post(ctx, strings.Replace(o, "BUNDLE 0 1", "BUNDLE 0 1 2", 1)+second)
	if err != nil {
		return err
	}
	return resp.wants(201, 400, 422)
}

func noPartialAnswers(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	return check(!strings.Contains(s.answer, "\nm=audio 0 ") && !strings.Contains(s.answer, "\nm=video 0 "), "a section is refused: %s", s.answer)
}

func setups(ctx context.Context, t *Target) error {
	var bad error
	for _, c := range []struct {
		offered, answered string
		optional          bool
	}{{"actpass", "a=setup:(active|passive)\r", false}, {"active", "a=setup:passive\r", false}, {"passive", "a=setup:active\r", true}} {
		resp, err := t.post(ctx, t.offer("a=setup:actpass", "a=setup:"+c.offered))
		if err != nil {
			return err
		}
		switch {
		case resp.StatusCode == http.StatusCreated:
			bad = errors.Join(bad, check(regexp.MustCompile(c.answered).MatchString(resp.body), "%s is answered %s", c.offered, resp.body))
		case c.optional:
			bad = errors.Join(bad, resp.wants(422))
		default:
			bad = errors.Join(bad, resp.wants(201))
		}
		t.clean(ctx)
	}
	return bad
}

func linksServers(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	for _, link := range s.header.Values("Link") {
		if strings.Contains(link, `rel="ice-server"`) {
			return check(regexp.MustCompile(`^<(stun|turns?):`).MatchString(link), "the Link is %s", link)
		}
	}
	return errors.New("no Link of a STUN or TURN server")
}

func preflightsNeedNoToken(ctx context.Context, t *Target) error {
	resp, err := t.do(ctx, http.MethodOptions, t.Endpoint, "", "Origin: https://example.com", "Access-Control-Request-Method: POST")
	if err != nil {
		return err
	}
	return failures(resp.wants(200, 204),
		check(strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "Authorization"), "pages cannot send a token"))
}

func linksExtensions(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	for _, link := range s.header.Values("Link") {
		if strings.Contains(link, `rel="urn:ietf:params:whep:ext:core:server-sent-events"`) {
			return nil
		}
	}
	return errors.New("no Link to events")
}

func conflictsWithoutPublisher(ctx context.Context, t *Target) error {
	resp, err := t.do(ctx, http.MethodPost, t.Absent, t.offer(), typeSDP)
	if err != nil {
		return err
	}
	return failures(resp.wants(409), check(resp.Header.Get("Retry-After") != "", "no Retry-After"))
}

func unguessable(ctx context.Context, t *Target) error {
	s, err := t.create(ctx, t.offer())
	if err != nil {
		return err
	}
	id := s.url[strings.LastIndex(s.url, "/")+1:]
	return check(len(id) >= 22, "the session is named %q, which has less than 128 bits", id) // 22 characters of base 64
}
