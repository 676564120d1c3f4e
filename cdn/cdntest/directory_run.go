package cdntest

import (
	"crypto/rand"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deltacdn/delta/cdn"
)

const (
	ttl      = time.Minute      // of entries that are not to run out
	patience = 20 * time.Second // for what is to happen some time
)

// dirTest is one subtest: a directory, and a stream of its own in it.
type dirTest struct {
	t      *testing.T
	dir    cdn.Directory
	stream cdn.StreamID
}

func newDirTest(t *testing.T, newDir func(t *testing.T) cdn.Directory) *dirTest {
	return &dirTest{
		t:      t,
		dir:    newDir(t),
		stream: cdn.StreamID("cdntest/" + strings.ToLower(rand.Text()[:10])),
	}
}

// entry returns an entry of the test's stream by node, with all fields set.
// It is equal to, and shares nothing with, what it returned before.
func (d *dirTest) entry(node cdn.NodeID) cdn.Entry {
	return cdn.Entry{
		Stream: d.stream, Node: node, URL: "https://node.example.com:8443/delta",
		Publication: "publication", Epoch: 1 << 60, Hops: 2, Path: []cdn.NodeID{"origin", "relay"},
		Latency: 12345 * time.Microsecond, Load: 0.25,
		Tracks: []cdn.TrackInfo{
			{
				ID: "audio", Kind: cdn.Audio, Layers: []string{""},
				Codec:      cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2, Fmtp: "minptime=10;useinbandfec=1"},
				Extensions: []string{"urn:ietf:params:rtp-hdrext:ssrc-audio-level"},
			},
			{
				ID: "video", Kind: cdn.Video, Layers: []string{"l", "m", "h"},
				Codec:      cdn.Codec{MimeType: "video/VP8", ClockRate: 90000},
				Extensions: []string{"urn:3gpp:video-orientation", "urn:ietf:params:rtp-hdrext:sdes:mid"},
			},
		},
	}
}

func (d *dirTest) put(e cdn.Entry) {
	d.t.Helper()
	d.putFor(e, ttl)
}

func (d *dirTest) putFor(e cdn.Entry, lease time.Duration) {
	d.t.Helper()
	if err := d.dir.Put(d.t.Context(), e, lease); err != nil {
		d.t.Fatalf("Put of epoch %d by %s: %v", e.Epoch, e.Node, err)
	}
}

func (d *dirTest) remove(e cdn.Entry) {
	d.t.Helper()
	if err := d.dir.Remove(d.t.Context(), e); err != nil {
		d.t.Fatalf("Remove of epoch %d by %s: %v", e.Epoch, e.Node, err)
	}
}

func (d *dirTest) find() []cdn.Entry {
	d.t.Helper()
	return d.findOf(d.stream)
}

func (d *dirTest) findOf(id cdn.StreamID) []cdn.Entry {
	d.t.Helper()
	entries, err := d.dir.Find(d.t.Context(), id)
	if err != nil {
		d.t.Fatalf("Find(%q): %v", id, err)
	}
	return entries
}

// finds reports whether the directory now has the entries of just these nodes.
func (d *dirTest) finds(want ...cdn.NodeID) bool {
	d.t.Helper()
	return named(d.find(), want)
}

// wantNodes wants entries of just these nodes: in this order, if the entries'
// Hops differ, else in any.
func (d *dirTest) wantNodes(want ...cdn.NodeID) {
	d.t.Helper()
	got := d.find()
	if !named(got, want) {
		d.t.Fatalf("Find = %+v, want the entries of %q", got, want)
	}
	byHops := func(a, b cdn.Entry) int { return a.Hops - b.Hops }
	if !slices.IsSortedFunc(got, byHops) {
		d.t.Fatalf("Find = %+v, want the fewest hops first", got)
	}
}

// named reports whether entries are those of the nodes, in any order.
func named(entries []cdn.Entry, nodes []cdn.NodeID) bool {
	got := make([]cdn.NodeID, len(entries))
	for i, e := range entries {
		got[i] = e.Node
	}
	want := slices.Clone(nodes)
	slices.Sort(got)
	slices.Sort(want)
	return slices.Equal(got, want)
}

// wantEntries wants just these entries, to the last field.
func (d *dirTest) wantEntries(want ...cdn.Entry) {
	d.t.Helper()
	if got := d.find(); !reflect.DeepEqual(plain(got), want) {
		d.t.Fatalf("Find =\n%+v, want\n%+v", got, want)
	}
}

// plain returns entries with nil in place of empty lists.
func plain(entries []cdn.Entry) []cdn.Entry {
	entries = slices.Clone(entries)
	for i := range entries {
		if e := &entries[i]; len(e.Path) == 0 {
			e.Path = nil
		}
		if e := &entries[i]; len(e.Tracks) == 0 {
			e.Tracks = nil
		}
	}
	return entries
}

func (d *dirTest) wantError(op string, err, want error) {
	d.t.Helper()
	if !errors.Is(err, want) {
		d.t.Fatalf("%s: error %v, want one wrapping %v", op, err, want)
	}
}

// eventually waits until f is true.
func (d *dirTest) eventually(f func() bool) {
	d.t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(25 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatalf("not so after %v", patience)
		}
	}
}
