package clients

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// A recorder keeps what clients send ahead of media: their connectivity checks and
// their ClientHellos. With DELTA_CLIENTS_RECORD=1, TestClients writes them to the
// testdata of internal/endpoint/icecheck and internal/endpoint/dtlssrtp, whose tests answer them.
type recorder struct {
	cdn.Network
	client, version string

	mu       sync.Mutex
	sessions map[string]*recorded // by our user name fragment
	by       map[string]*recorded // by the client's address
}

// recorded is what is kept of a session. Packets are in hexadecimal.
type recorded struct {
	Client   string   `json:"client"` // with its version
	Action   string   `json:"action"`
	Pwd      string   `json:"pwd,omitempty"` // ours, which the checks prove to know
	Requests []string `json:"requests,omitempty"`
	Hello    []string `json:"hello,omitempty"`

	file   string
	shapes []string // of the requests that are kept
}

func newRecorder(t *testing.T, client, version string) *recorder {
	if os.Getenv("DELTA_CLIENTS_RECORD") == "" {
		return nil
	}
	r := &recorder{
		Network: cdn.SystemNetwork(), client: client, version: version,
		sessions: make(map[string]*recorded), by: make(map[string]*recorded),
	}
	t.Cleanup(func() { r.write(t) })
	return r
}

func (r *recorder) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	conn, err := r.Network.ListenUDP(addr)
	if err != nil {
		return nil, err
	}
	return tap{conn, r}, nil
}

// A tap shows the recorder what comes. It hides that its connection is a socket of
// the system's, which would be read past it.
type tap struct {
	net.PacketConn
	recorder *recorder
}

func (c tap) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if err == nil {
		c.recorder.packet(b[:n], from.String())
	}
	return n, from, err
}

var (
	ufragLine = regexp.MustCompile(`(?m)^a=ice-ufrag:(.*?)\r?$`)
	pwdLine   = regexp.MustCompile(`(?m)^a=ice-pwd:(.*?)\r?$`)
)

// handler notes what answers say.
func (r *recorder) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodPost || !strings.HasPrefix(req.URL.Path, "/wh") {
			h.ServeHTTP(w, req)
			return
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, req)
		r.answered(req, answer.Body.Bytes())
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

func (r *recorder) answered(req *http.Request, sdp []byte) {
	ufrag, pwd := ufragLine.FindSubmatch(sdp), pwdLine.FindSubmatch(sdp)
	if ufrag == nil || pwd == nil {
		return
	}
	s := &recorded{Client: r.version, Action: "play", Pwd: string(pwd[1]), file: r.client}
	if strings.HasPrefix(req.URL.Path, "/whip/") {
		s.Action = "publish"
	}
	if strings.HasPrefix(req.UserAgent(), "Go-http-client") {
		s.Client, s.file = "pion", "pion" // the reference viewer, and the clip's publisher
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions[string(ufrag[1])] = s
}

const maxRequests = 6 // of different shapes

func (r *recorder) packet(b []byte, from string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := (&stun.Message{Raw: bytes.Clone(b)}); stun.IsMessage(b) && m.Decode() == nil && m.Type == stun.BindingRequest {
		name, _ := m.Get(stun.AttrUsername)
		ours, _, _ := strings.Cut(string(name), ":")
		s := r.sessions[ours]
		if s == nil {
			return
		}
		r.by[from] = s
		var shape strings.Builder
		for _, a := range m.Attributes {
			shape.WriteString(a.Type.String() + " ")
		}
		if len(s.Requests) < maxRequests && !slices.Contains(s.shapes, shape.String()) {
			s.shapes = append(s.shapes, shape.String())
			s.Requests = append(s.Requests, hex.EncodeToString(b))
		}
		return
	}
	const handshake, clientHello, header = 22, 1, 13
	if s := r.by[from]; s != nil && len(b) > header && b[0] == handshake && b[header] == clientHello {
		if packet := hex.EncodeToString(b); !slices.Contains(s.Hello, packet) && len(s.Hello) < 4 {
			s.Hello = append(s.Hello, packet)
		}
	}
}

func (r *recorder) write(t *testing.T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sessions {
		checks, hello := *s, *s
		checks.Hello, hello.Requests, hello.Pwd = nil, nil, ""
		for folder, content := range map[string]recorded{"icecheck": checks, "dtlssrtp": hello} {
			if content.Requests == nil && content.Hello == nil {
				continue
			}
			text, err := json.MarshalIndent(content, "", "\t")
			require.NoError(t, err)
			folder = filepath.Join("..", folder, "testdata", "clients")
			require.NoError(t, os.MkdirAll(folder, 0o755))
			name := strings.ToLower(s.file) + "-" + s.Action + ".json"
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), append(text, '\n'), 0o644))
		}
	}
}
