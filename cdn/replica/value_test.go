package replica

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func TestValueIsWritten(t *testing.T) {
	for name, tc := range map[string]struct {
		value Value
		want  string
	}{
		"entry": {
			Value{Seq: 1700000000000000001, Lease: 15 * time.Second, Entry: &cdn.Entry{Stream: "live/a", Node: "o1", URL: "https://o1", Publication: "p", Epoch: 1 << 60}},
			`{"v":1,"seq":"1700000000000000001","lease_ms":15000,"entry":{"v":1,"stream":"live/a","node":"o1","url":"https://o1","publication":"p","epoch":"1152921504606846976","hops":0}}`,
		},
		"node": {
			Value{Seq: 2, Lease: time.Microsecond, Node: &cdn.NodeEntry{Node: "r1", Roles: cdn.RoleRelay, Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:7000")}}},
			`{"v":1,"seq":"2","lease_ms":1,"node":{"v":1,"node":"r1","addrs":["192.0.2.1:7000"],"roles":["relay"]}}`,
		},
		"gone": {
			Value{Seq: 3, Lease: time.Minute, Gone: &Gone{Stream: "live/a", Node: "o1", Epoch: 7}},
			`{"v":1,"seq":"3","lease_ms":60000,"gone":{"stream":"live/a","node":"o1","epoch":"7"}}`,
		},
		"node gone": {
			Value{Seq: 3, Lease: time.Minute, Gone: &Gone{Node: "o1"}},
			`{"v":1,"seq":"3","lease_ms":60000,"gone":{"node":"o1","epoch":"0"}}`,
		},
		"objection": {Value{Seq: 4, Seen: "o1"}, `{"v":1,"seq":"4","seen":"o1"}`},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := tc.value.Encode()
			require.NoError(t, err)
			assert.Equal(t, tc.want, string(b))
			v, err := Decode(b)
			require.NoError(t, err)
			want := tc.value
			want.Lease = max(want.Lease.Truncate(time.Millisecond), time.Duration(milliseconds(want.Lease))*time.Millisecond)
			assert.Equal(t, want, v)
		})
	}
}

func TestValueIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		json string
		want error
	}{
		"nothing":          {``, cdn.ErrInvalid},
		"no object":        {`[]`, cdn.ErrInvalid},
		"two objects":      {`{"v":1,"seq":"4","seen":"o1"}{}`, cdn.ErrInvalid},
		"no kind":          {`{"v":1,"seq":"1","lease_ms":1}`, cdn.ErrInvalid},
		"two kinds":        {`{"v":1,"seq":"1","lease_ms":1,"seen":"n","gone":{"node":"n","epoch":"0"}}`, cdn.ErrInvalid},
		"no number":        {`{"v":1,"lease_ms":1,"gone":{"node":"n","epoch":"0"}}`, cdn.ErrInvalid},
		"number no text":   {`{"v":1,"seq":1,"lease_ms":1,"gone":{"node":"n","epoch":"0"}}`, cdn.ErrInvalid},
		"number too great": {`{"v":1,"seq":"9223372036854775808","lease_ms":1,"gone":{"node":"n","epoch":"0"}}`, cdn.ErrInvalid},
		"no lease":         {`{"v":1,"seq":"1","gone":{"node":"n","epoch":"0"}}`, cdn.ErrInvalid},
		"negative lease":   {`{"v":1,"seq":"1","lease_ms":-1,"gone":{"node":"n","epoch":"0"}}`, cdn.ErrInvalid},
		"null entry":       {`{"v":1,"seq":"1","lease_ms":1,"entry":null}`, cdn.ErrUnsupported},
		"entry of none":    {`{"v":1,"seq":"1","lease_ms":1,"entry":{"v":1,"node":"n","epoch":"0"}}`, cdn.ErrInvalid},
		"bad node":         {`{"v":1,"seq":"1","lease_ms":1,"gone":{"node":"n n","epoch":"0"}}`, cdn.ErrInvalid},
		"bad stream":       {`{"v":1,"seq":"1","lease_ms":1,"gone":{"stream":"a//b","node":"n","epoch":"0"}}`, cdn.ErrInvalid},
		"later version":    {`{"v":2,"seq":"1","lease_ms":1,"gone":{"node":"n","epoch":"0"}}`, cdn.ErrUnsupported},
		"later entry":      {`{"v":1,"seq":"1","lease_ms":1,"entry":{"v":2,"stream":"s","node":"n","epoch":"0"}}`, cdn.ErrUnsupported},
		"too long":         {`{"v":1,"seq":"1","lease_ms":1,"gone":{"node":"n","epoch":"0"},"x":"` + strings.Repeat("x", MaxValue) + `"}`, cdn.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := Decode([]byte(tc.json))
			require.ErrorIs(t, err, tc.want)
			assert.Zero(t, v)
		})
	}
}

func TestValueOfLaterMinorVersionIsRead(t *testing.T) {
	v, err := Decode([]byte(`{"v":1,"seq":"1","lease_ms":99999999999999,"new":[1],"gone":{"node":"n","epoch":"0","why":"x"}}`))
	require.NoError(t, err)
	assert.Equal(t, Value{Seq: 1, Lease: MaxLease, Gone: &Gone{Node: "n"}}, v)
}

func TestEncodeRefuses(t *testing.T) {
	e := &cdn.Entry{Stream: "s", Node: "n"}
	for name, v := range map[string]Value{
		"no lease":       {Seq: 1, Entry: e},
		"no number":      {Lease: 1, Entry: e},
		"no stream":      {Seq: 1, Lease: 1, Entry: &cdn.Entry{Node: "n"}},
		"no node":        {Seq: 1, Lease: 1, Entry: &cdn.Entry{Stream: "s"}},
		"node of none":   {Seq: 1, Lease: 1, Node: &cdn.NodeEntry{}},
		"endless URL":    {Seq: 1, Lease: 1, Entry: &cdn.Entry{Stream: "s", Node: "n", URL: strings.Repeat("u", MaxValue)}},
		"nothing at all": {},
	} {
		_, err := v.Encode()
		require.ErrorIs(t, err, cdn.ErrInvalid, name)
	}
}

// TestLongEntryLosesTracks: a stream must be found, however much there is to say of it.
func TestLongEntryLosesTracks(t *testing.T) {
	e := cdn.Entry{Stream: "s", Node: "n", URL: "https://n"}
	for range 10 {
		e.Tracks = append(e.Tracks, cdn.TrackInfo{ID: strings.Repeat("t", 2000), Layers: []string{""}})
	}
	b, err := Value{Seq: 1, Lease: time.Second, Entry: &e}.Encode()
	require.NoError(t, err)
	v, err := Decode(b)
	require.NoError(t, err)
	assert.Empty(t, v.Entry.Tracks)
	assert.Equal(t, "https://n", v.Entry.URL)
	assert.Len(t, e.Tracks, 10, "the caller's entry is not changed")
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":1,"seq":"1700000000000000001","lease_ms":15000,"entry":{"v":1,"stream":"live/a","node":"o1","url":"https://o1","publication":"p","epoch":"1152921504606846976","hops":1,"path":["o2"],"latency_ms":1.5,"load":0.5,"tracks":[{"id":"a","kind":"audio","mime":"audio/opus","rate":48000,"channels":2,"layers":[""]}]}}`))
	f.Add([]byte(`{"v":1,"seq":"2","lease_ms":1,"node":{"v":1,"node":"r1","addrs":["192.0.2.1:7000"],"roles":["relay"],"origins":[{"node":"o","latency_ms":2}]}}`))
	f.Add([]byte(`{"v":1,"seq":"3","lease_ms":60000,"gone":{"stream":"live/a","node":"o1","epoch":"7"}}`))
	f.Add([]byte(`{"v":1,"seq":"4","seen":"o1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Decode(b)
		if err != nil {
			require.Zero(t, v)
			return
		}
		again, err := v.Encode()
		if err != nil {
			require.Greater(t, len(b)*6, MaxValue, "what was read can be written, unless it grows: %v", err)
			return
		}
		require.False(t, bytes.ContainsAny(again, "\n\r"), "one line")
		w, err := Decode(again)
		require.NoError(t, err)
		third, err := w.Encode()
		require.NoError(t, err)
		require.Equal(t, string(again), string(third))

		s := NewSet(Config{Limit: 1})
		_, err = s.Take(v)
		require.NoError(t, err)
		outcome, err := s.Take(v)
		require.NoError(t, err)
		require.Equal(t, Known, outcome)
		s.Lapse(time.Now().Add(2 * MaxLease))
		entries, nodes := s.Len()
		require.Zero(t, entries+nodes)
	})
}
