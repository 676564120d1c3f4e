package dtlssrtp

import (
	"io"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/endpoint/certificate"
)

// connected returns both sides of a connection, and the client's pipe.
func connected(t testing.TB) (server, client *dtls.Conn, toClient *Pipe) {
	var toServer *Pipe
	toClient = NewPipe(func(b []byte) error { toServer.Put(b); return nil })
	toServer = NewPipe(func(b []byte) error { toClient.Put(b); return nil })
	cert := selfSigned(t)
	config := Config{Certificate: cert, Peer: []certificate.Hash{hashOf(t, cert)}, Log: logging.NewDefaultLoggerFactory()}
	ofClient := config
	ofClient.Client = true
	made := make(chan *dtls.Conn)
	go func() {
		conn, _ := Handshake(t.Context(), toServer, config)
		made <- conn
	}()
	client, err := Handshake(t.Context(), toClient, ofClient)
	require.NoError(t, err)
	server = <-made
	require.NotNil(t, server)
	toServer.Mute(true)
	t.Cleanup(func() {
		_ = server.Close()
		_ = client.Close()
	})
	return server, client, toClient
}

// A parked connection is small, shares with others what is the same, and can say goodbye.
func TestParkedConnections(t *testing.T) {
	var all []Parked
	for range 2 {
		server, client, toClient := connected(t)
		p, ok := Park(server)
		require.True(t, ok)
		require.Less(t, len(p.state), 256)
		all = append(all, p)
		resumed, err := p.Resume(NewPipe(func(b []byte) error { toClient.Put(b); return nil }), selfSigned(t), logging.NewDefaultLoggerFactory())
		require.NoError(t, err)
		require.NoError(t, resumed.Close())
		require.NoError(t, client.SetReadDeadline(time.Now().Add(20*time.Second)))
		_, err = client.Read(make([]byte, 64))
		require.ErrorIs(t, err, io.EOF)
	}
	require.Equal(t, all[0].types, all[1].types)
	require.NotEqual(t, all[0].state, all[1].state)
}

// Anybody who forges an alert has a connection resumed, at most once in 100 ms for each endpoint.
func BenchmarkParked(b *testing.B) {
	server, _, _ := connected(b)
	cert, log := selfSigned(b), logging.NewDefaultLoggerFactory()
	parked, ok := Park(server)
	require.True(b, ok)
	b.Run("park", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = Park(server)
		}
	})
	b.Run("resume", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			pipe := NewPipe(func([]byte) error { return nil })
			conn, err := parked.Resume(pipe, cert, log)
			require.NoError(b, err)
			_ = conn.Close()
			_ = pipe.Close()
		}
	})
}

// Where the last message begins is found by the lengths of those before it.
func TestLastMessage(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		at     int
	}{
		"nothing":    {"", 0},
		"one":        {"\x02ab", 0},
		"three":      {"\x02ab\x01c\x03def", 5},
		"a long one": {"\xff\x81" + string(make([]byte, 0x81)) + "\x01x", 2 + 0x81},
		"longer":     {"\xfe\x01\x00" + string(make([]byte, 256)) + "\x01x", 3 + 256},
		"cut off":    {"\x05ab", 0},
		"no length":  {"\x01a\xfe", 2},
	} {
		require.Equal(t, c.at, lastMessage([]byte(c.stream)), name)
	}
}
