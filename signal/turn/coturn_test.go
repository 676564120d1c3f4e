package turn_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/internal/freeport"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/inproc"
	"github.com/deltacdn/delta/signal/turn"
	"github.com/deltacdn/delta/signal/whep"
)

const coturnSecret = "north"

// patience bounds every wait. It is not asserted: a slow machine only waits.
const patience = time.Minute

// startCoturn starts a TURN server with the secret, and returns its URL.
func startCoturn(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("turnserver")
	if err != nil {
		if os.Getenv("DELTA_REQUIRE_TURN") != "" {
			t.Fatal("no turnserver (Debian's package coturn)")
		}
		t.Skip("no turnserver: install Debian's package coturn to run this test")
	}
	port := freeport.Port(t)
	dir := t.TempDir()
	log := &lockedBuffer{}
	server := exec.Command(path, "-n", "--no-cli", "--no-tls", "--no-dtls", "--no-rfc5780",
		"--listening-ip=127.0.0.1", fmt.Sprint("--listening-port=", port), "--relay-ip=127.0.0.1", "--allow-loopback-peers",
		"--use-auth-secret", "--static-auth-secret="+coturnSecret, "--realm=delta.test", "--fingerprint", "--verbose",
		"--log-file=stdout", "--pidfile="+filepath.Join(dir, "pid"), "--userdb="+filepath.Join(dir, "db"))
	server.Dir, server.Stdout, server.Stderr = dir, log, log
	require.NoError(t, server.Start())
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	t.Cleanup(func() {
		_ = server.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(log.String())
		}
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}, patience, 20*time.Millisecond)
	return fmt.Sprintf("turn:127.0.0.1:%d?transport=udp", port)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serveStream returns the WHEP endpoint of a stream of sound that a publisher sends, whose
// handler tells clients of the servers. (Video is paused for a viewer whose path seems
// narrow, as every path does on a machine that has too much to do.)
func serveStream(t *testing.T, servers signal.ICEServers) string {
	t.Helper()
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = node.Close() })
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	view, err := edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)
	handler, err := whep.New(view, whep.Config{ICEServersFor: servers})
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	dialer := inproc.New(inproc.Config{})
	dialer.Handle("http://a.test", live)
	p := cdntest.Publish(t, cdntest.PublisherConfig{Dialer: dialer, URL: "http://a.test/live", Stream: "live", Audio: &cdntest.Audio{}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, p.WaitConnected(ctx))
	return server.URL + "/whep/live"
}

// A relayed viewer is a pion client that uses relay candidates and no others.
type relayedViewer struct {
	pc       *webrtc.PeerConnection
	servers  []webrtc.ICEServer
	relayed  []webrtc.ICECandidate
	received chan struct{} // closed when media has come
}

// play has the viewer play what is at url, over the TURN servers that the answer tells
// of, changed by change if that is not nil. It returns when candidates are gathered.
func playRelayed(t *testing.T, url string, change func(*webrtc.ICEServer)) *relayedViewer {
	t.Helper()
	v := &relayedViewer{received: make(chan struct{})}
	var err error
	v.pc, err = webrtc.NewPeerConnection(webrtc.Configuration{ICETransportPolicy: webrtc.ICETransportPolicyRelay})
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.pc.GracefulClose() })
	_, err = v.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	require.NoError(t, err)
	var once sync.Once
	v.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for range 50 {
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
		}
		once.Do(func() { close(v.received) })
	})
	offer, err := v.pc.CreateOffer(nil)
	require.NoError(t, err)
	resp, err := http.Post(url, "application/sdp", strings.NewReader(offer.SDP))
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, resp.StatusCode, "%s", answer)
	for _, link := range resp.Header.Values("Link") {
		if m := serverLink.FindStringSubmatch(link); m != nil {
			s := webrtc.ICEServer{URLs: m[1:2], Username: m[2], Credential: m[3]}
			if change != nil {
				change(&s)
			}
			v.servers = append(v.servers, s)
		}
	}
	require.Len(t, v.servers, 1, "%q", resp.Header.Values("Link"))
	require.NoError(t, v.pc.SetConfiguration(webrtc.Configuration{ICETransportPolicy: webrtc.ICETransportPolicyRelay, ICEServers: v.servers}))
	v.pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c != nil {
			v.relayed = append(v.relayed, *c)
		}
	})
	gathered := webrtc.GatheringCompletePromise(v.pc)
	require.NoError(t, v.pc.SetLocalDescription(offer))
	require.NoError(t, v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}))
	select {
	case <-gathered:
	case <-time.After(patience):
		t.Fatal("candidates are gathered for ever")
	}
	return v
}

var serverLink = regexp.MustCompile(`^<(turn:[^>]+)>; rel="ice-server"; username="([^"]*)"; credential="([^"]*)"; credential-type="password"$`)

// A viewer that can send nothing but to a TURN server plays over a real one, with the
// credentials that it is told with its answer.
func TestPlayOverCoturn(t *testing.T) {
	servers, err := turn.New(turn.Config{URLs: []string{startCoturn(t)}, Secret: coturnSecret, TTL: time.Hour})
	require.NoError(t, err)
	v := playRelayed(t, serveStream(t, servers), nil)
	select {
	case <-v.received:
	case <-time.After(patience):
		t.Fatal("no media over the TURN server")
	}
	pair, err := v.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
	require.NoError(t, err)
	require.Equal(t, webrtc.ICECandidateTypeRelay, pair.Local.Typ)
}

// Coturn refuses credentials that have expired, or that somebody has made up.
func TestCoturnRefuses(t *testing.T) {
	url := startCoturn(t)
	servers, err := turn.New(turn.Config{URLs: []string{url}, Secret: coturnSecret})
	require.NoError(t, err)
	endpoint := serveStream(t, servers)
	for name, change := range map[string]func(*webrtc.ICEServer){
		"expired": func(s *webrtc.ICEServer) {
			s.Username, s.Credential = credentials(coturnSecret, -time.Minute)
		},
		"made with another secret": func(s *webrtc.ICEServer) {
			s.Username, s.Credential = credentials("south", time.Hour)
		},
		"made to last longer": func(s *webrtc.ICEServer) {
			s.Username, _ = credentials(coturnSecret, 1000*time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, playRelayed(t, endpoint, change).relayed)
		})
	}
	t.Run("not those that are good", func(t *testing.T) {
		good := playRelayed(t, endpoint, func(s *webrtc.ICEServer) {
			s.Username, s.Credential = credentials(coturnSecret, time.Minute)
		})
		require.NotEmpty(t, good.relayed)
	})
}

func credentials(secret string, left time.Duration) (username string, password any) {
	return turn.Credentials(secret, "delta", time.Now().Add(left))
}
