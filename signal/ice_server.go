package signal

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/deltacdn/delta/cdn"
)

// An ICEServer is a STUN or TURN server that clients learn of with the answer to their offer
// (RFC 9725 section 4.6).
type ICEServer struct {
	// URLs are its addresses, such as "stun:stun.example.com" (RFC 7064) and
	// "turn:turn.example.com:3478?transport=udp" (RFC 7065). Required.
	URLs []string
	// Username and Credential are for a TURN server. Every client that learns of the server
	// learns both. If empty, none is needed.
	Username, Credential string
}

// Links returns the values of HTTP Link headers that name the server: one for each URL. It
// fails with an error wrapping [cdn.ErrInvalid] where a URL is not of a STUN or TURN server,
// or a value has characters that a header cannot carry.
func (s ICEServer) Links() ([]string, error) {
	if len(s.URLs) == 0 {
		return nil, fmt.Errorf("%w: an ICE server without a URL", cdn.ErrInvalid)
	}
	if !printable(s.Username) || !printable(s.Credential) {
		return nil, fmt.Errorf("%w: the credentials of ICE server %s are not in printable ASCII", cdn.ErrInvalid, s.URLs[0])
	}
	attributes := `; rel="ice-server"`
	if s.Username != "" || s.Credential != "" {
		attributes += `; username=` + quoted(s.Username) + `; credential=` + quoted(s.Credential) + `; credential-type="password"`
	}
	links := make([]string, len(s.URLs))
	for i, u := range s.URLs {
		if err := checkICEServer(u); err != nil {
			return nil, err
		}
		links[i] = "<" + u + ">" + attributes
	}
	return links, nil
}

func checkICEServer(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Opaque == "" || !printable(s) || strings.ContainsAny(s, "<> ") {
		return fmt.Errorf("%w: %q is not the URL of an ICE server, such as turn:turn.example.com:3478", cdn.ErrInvalid, s)
	}
	switch u.Scheme {
	case "stun", "stuns", "turn", "turns":
		return nil
	}
	return fmt.Errorf("%w: %q is not of a STUN or TURN server: its scheme has to be stun, stuns, turn or turns", cdn.ErrInvalid, s)
}

// printable reports whether s is printable ASCII.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// quoted returns s as a quoted-string (RFC 9110 section 5.6.4).
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// An ICERequest is what is known about a client that is to learn of ICE servers.
type ICERequest struct {
	Stream cdn.StreamID
	// RemoteAddr is host:port of the signaling client, if known.
	RemoteAddr string
	// Admitted reports that the client has its session. Some clients ask ahead of their
	// offer, by OPTIONS. It is not known then whether they will be let in, so they must
	// learn nothing that is not for everybody.
	Admitted bool
}

// ICEServers returns the ICE servers for one client. It is called concurrently, while the
// client waits for its answer. When ctx ends, it must return what it has by then.
// [github.com/deltacdn/delta/signal/turn] has one that makes time-limited credentials.
type ICEServers func(ctx context.Context, r ICERequest) []ICEServer
