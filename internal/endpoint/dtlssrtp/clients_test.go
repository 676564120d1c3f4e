package dtlssrtp

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/endpoint/certificate"
)

// recordings returns the datagrams of each client's ClientHello, by the client's
// name. internal/clients records them.
func recordings(t *testing.T) map[string][][]byte {
	files, err := filepath.Glob(filepath.Join("testdata", "clients", "*.json"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 6)
	all := make(map[string][][]byte)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var r struct {
			Client string
			Hello  []string
		}
		require.NoError(t, json.Unmarshal(text, &r))
		for _, one := range r.Hello {
			datagram, err := hex.DecodeString(one)
			require.NoError(t, err)
			all[r.Client] = append(all[r.Client], datagram)
		}
		require.NotEmpty(t, all[r.Client], file)
	}
	return all
}

// The ClientHello of each client is answered by a whole flight, which agrees on
// SRTP: as it came, in another order, doubled, and repeated after a loss; through
// what keeps it until the address is proved.
func TestClientHellosOfClients(t *testing.T) {
	for client, hello := range recordings(t) {
		backwards := slices.Clone(hello)
		slices.Reverse(backwards)
		for name, datagrams := range map[string][][]byte{
			"as sent":    hello,
			"reversed":   backwards,
			"doubled":    append(slices.Clone(hello), hello...),
			"first lost": append(slices.Clone(hello[1:]), hello...),
		} {
			t.Run(strings.Fields(client)[0]+" "+name, func(t *testing.T) {
				var kept Hello
				for _, d := range datagrams {
					require.True(t, IsClientHello(d))
					kept.Keep(d)
				}
				require.Equal(t, len(hello), kept.Len(), "one of each, and no matter in which order")
				requireAnswered(t, kept.Take())
			})
		}
	}
}

func requireAnswered(t *testing.T, hello [][]byte) {
	const serverHello, certificateType, serverKeyExchange, certificateRequest, serverHelloDone = 2, 11, 12, 13, 14
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var kinds []byte
	srtp := false
	p := NewPipe(func(datagram []byte) error {
		for rest := datagram; len(rest) > recordHeaderLen; {
			n := recordHeaderLen + int(rest[11])<<8 + int(rest[12])
			if rest[0] == handshakeRecord {
				kinds = append(kinds, rest[recordHeaderLen])
				// use_srtp, one profile and no MKI (RFC 5764 section 4.1.1).
				srtp = srtp || rest[recordHeaderLen] == serverHello && strings.Contains(string(rest[:n]), "\x00\x0e\x00\x05\x00\x02\x00")
			}
			rest = rest[n:]
		}
		if slices.Contains(kinds, serverHelloDone) {
			cancel() // nobody goes on
		}
		return nil
	})
	for _, d := range hello {
		p.Put(d)
	}
	cert := selfSigned(t)
	_, err := Handshake(ctx, p, Config{Certificate: cert, Peer: []certificate.Hash{hashOf(t, cert)}, Log: logging.NewDefaultLoggerFactory()})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, p.Close())
	for _, kind := range []byte{serverHello, certificateType, serverKeyExchange, certificateRequest, serverHelloDone} {
		require.Contains(t, kinds, kind)
	}
	require.True(t, srtp)
}
