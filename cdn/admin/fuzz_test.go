package admin

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/relay"
)

// largeReport is that of a node with 200 streams, each of sound and three layers.
func largeReport(id string) Report {
	r := Report{Node: Node{ID: id, Roles: []string{"edge"}, Started: time.Now()}, Sessions: SessionCounts{Total: 5000, Viewers: 4800}}
	for i := range 200 {
		layer := Layer{Name: "h", Bitrate: 2_500_000 + int64(i), Packets: 123456789, Bytes: 123456789012, Keyframes: 1234, Receivers: 25}
		r.Streams = append(r.Streams, Stream{
			ID: fmt.Sprintf("customer-%d/camera-%d", i%7, i), Started: time.Now(), Live: true, Path: []string{"origin", "relay"}, DelaysMs: []float64{12.3, 4.5},
			Upstream: &Upstream{Node: "relay", URL: "https://relay.example.com", Since: time.Now()}, Viewers: 25, Bitrate: 2_500_000,
			Tracks: []Track{{ID: "audio", Kind: "audio", Codec: "opus", Layers: []Layer{layer}}, {ID: "video", Kind: "video", Codec: "H264", Layers: []Layer{layer, layer, layer}}},
		})
		r.Links = append(r.Links, Link{Peer: fmt.Sprint("node-", i%100), Up: time.Now(), RTTMs: 12.34, Fetched: []string{"a/b"}, Served: []string{}})
	}
	return r.sound()
}

// Whatever a node of the network asks, it is answered or refused, with an answer that
// can be read.
func FuzzAsked(f *testing.F) {
	limit, until := 7, time.Now()
	for _, q := range []ask{
		{Op: opReport},
		{Op: opSessions, Sessions: &sessionsWant{Limit: 3, Begun: 1 << 62, After: "x"}},
		{Op: opSessions, Sessions: &sessionsWant{Limit: -3}},
		{Op: opSessions},
		{Op: opKick, Session: "ABCDEFGH", By: "me\nop=forged", Reason: "why"},
		{Op: opPut, Entry: &entry{Kind: entryBlock, ID: "live/**", At: until, Until: until.Add(time.Hour)}},
		{Op: opPut, Entry: &entry{Kind: entryRevoke, ID: "token", Gone: true, At: until.Add(time.Hour)}},
		{Op: opPut},
		{Op: opLedger, Digest: "?"},
		{Op: opUndrain},
		{Op: opLimits},
		{Op: opSetLimits, Limits: &LimitsChange{Viewers: &limit}},
		{Op: "new", Timeout: -1},
	} {
		b, err := json.Marshal(q)
		require.NoError(f, err)
		f.Add(b)
	}
	list, err := access.New(nil, access.Policy{})
	require.NoError(f, err)
	node, err := cdn.Listen(cdn.Config{ID: "me", Addr: "127.0.0.1:0", Authorizer: list})
	require.NoError(f, err)
	defer node.Close()
	a, err := New(Config{Node: node, Access: list})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, question []byte) {
		b, err := a.answer(t.Context(), relay.Call{Path: []cdn.NodeID{"peer", "me"}, Payload: question})
		if err != nil {
			require.ErrorIs(t, err, cdn.ErrInvalid)
			return
		}
		_, err = unpack(b)
		require.NoError(t, err)
		entries, _ := a.ledger.all()
		require.LessOrEqual(t, len(entries), maxEntries)
	})
}

// Whatever a node of the network answers, it is read or refused.
func FuzzAnswer(f *testing.F) {
	r := largeReport("large")
	r.Streams = r.Streams[:2]
	for _, t := range []told{{}, {Report: &r}, {Sessions: []Session{{ID: "a@b"}}}, {Code: "forbidden", Problem: "no"}, {Ledger: []entry{{Kind: entryBlock}}}} {
		b, err := pack(t)
		require.NoError(f, err)
		f.Add(b)
	}
	_, err := unpack(deflate(make([]byte, 16*maxUnpacked)))
	require.ErrorIs(f, err, cdn.ErrPeerLost)
	f.Fuzz(func(t *testing.T, answer []byte) {
		got, err := unpack(answer)
		if err != nil {
			require.ErrorIs(t, err, cdn.ErrPeerLost)
			return
		}
		_ = got.err("op", "node")
		if got.Report != nil {
			r := got.Report.sound()
			require.NotNil(t, r.Streams)
			for _, l := range r.Links {
				require.Equal(t, r.Node.ID, l.Node)
			}
		}
	})
}

// Whatever a client gives for a position, it is one that was given, or refused.
func FuzzPosition(f *testing.F) {
	f.Add(position{Node: "a", Begun: 7, Name: "x"}.String())
	f.Add("!")
	f.Add("e30")
	f.Fuzz(func(t *testing.T, after string) {
		p, err := parsePosition(after)
		if err != nil {
			require.Equal(t, 400, problemOf(err).Status)
			return
		}
		again, err := parsePosition(p.String())
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}
