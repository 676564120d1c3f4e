package cdn_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// dnsTest is a DNS directory in a bubble, and the names that it looks up.
type dnsTest struct {
	*cdn.DNS
	t     *testing.T
	names *cdntest.Names
	log   *bytes.Buffer
}

func newDNSTest(t *testing.T, c cdn.DNSConfig, names ...string) *dnsTest {
	t.Helper()
	d := &dnsTest{t: t, names: &cdntest.Names{}, log: &bytes.Buffer{}}
	c.Names, c.Resolver = names, d.names
	c.Logger = slog.New(slog.NewTextHandler(d.log, nil))
	var err error
	d.DNS, err = cdn.NewDNS(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func addrs(all ...string) []netip.Addr {
	var parsed []netip.Addr
	for _, a := range all {
		parsed = append(parsed, netip.MustParseAddr(a))
	}
	return parsed
}

// places are where the entries are that the directory has now.
func (d *dnsTest) places() []string {
	d.t.Helper()
	entries, err := d.Find(d.t.Context(), "live")
	require.NoError(d.t, err)
	places := make([]string, len(entries))
	for i, e := range entries {
		places[i] = e.Place()
		assert.Equal(d.t, cdn.Entry{Stream: "live", URL: e.URL, At: e.At}, e)
	}
	nodes, err := d.Nodes(d.t.Context())
	require.NoError(d.t, err)
	require.Len(d.t, nodes, len(entries))
	for i, n := range nodes {
		assert.Equal(d.t, cdn.NodeEntry{URL: entries[i].URL, At: entries[i].At}, n)
	}
	return places
}

// later returns the places after what is due now has been looked up.
func (d *dnsTest) later(after time.Duration) []string {
	d.t.Helper()
	time.Sleep(after)
	_, err := d.Find(d.t.Context(), "live") // has the names looked up
	require.NoError(d.t, err)
	synctest.Wait()
	return d.places()
}

func TestDNSPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDNSTest(t, cdn.DNSConfig{},
			"https://edge.example.com/delta/", "http://spare.example.com:8080", "plain.example.com", "http://192.0.2.9:7000", "https://[2001:db8::9]")
		d.names.Set("edge.example.com", addrs("2001:db8::1", "192.0.2.1", "::ffff:192.0.2.1")...)
		d.names.Set("spare.example.com", addrs("192.0.2.2")...)
		d.names.Set("plain.example.com", addrs("192.0.2.3")...)
		assert.Equal(t, []string{
			"https://edge.example.com/delta at 192.0.2.1", "https://edge.example.com/delta at 2001:db8::1",
			"http://spare.example.com:8080 at 192.0.2.2", "https://plain.example.com at 192.0.2.3",
			"http://192.0.2.9:7000", "https://[2001:db8::9]",
		}, d.places())
		assert.Equal(t, 6, d.names.Lookups(), "addresses are not looked up")
	})
}

// What changes while the directory is in use is there a refresh later, and nobody waits
// for it.
func TestDNSChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDNSTest(t, cdn.DNSConfig{}, "https://edge")
		d.names.Set("edge", addrs("192.0.2.1", "192.0.2.2")...)
		assert.Len(t, d.places(), 2)
		d.names.Set("edge", addrs("192.0.2.2", "192.0.2.3")...)
		assert.Contains(t, d.later(26*time.Second), "https://edge at 192.0.2.1", "it is not looked up sooner")
		after := d.later(7 * time.Second)
		assert.ElementsMatch(t, []string{"https://edge at 192.0.2.2", "https://edge at 192.0.2.3"}, after)
		assert.Empty(t, d.log.String())
	})
}

// However often it is asked, a name is looked up once a refresh; and not at all where
// nobody asks.
func TestDNSLooksUpSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDNSTest(t, cdn.DNSConfig{}, "https://edge")
		d.names.Set("edge", addrs("192.0.2.1")...)
		for range 10 * 60 * 5 {
			d.places()
			time.Sleep(200 * time.Millisecond)
		}
		lookups := d.names.Lookups() / 2 // IPv4 and IPv6
		assert.InDelta(t, 10*60/30, lookups, 3)
		time.Sleep(time.Hour)
		assert.Equal(t, lookups, d.names.Lookups()/2)
		d.names.Set("edge", addrs("192.0.2.2")...)
		assert.Equal(t, []string{"https://edge at 192.0.2.2"}, d.places(), "an answer of an hour ago is not the first choice")
	})
}

// The last answer stands while the resolver fails, hangs, or says that there is no such
// name: for MaxStale. The log says so once.
func TestDNSLastAnswerStands(t *testing.T) {
	for name, fail := range map[string]func(*cdntest.Names){
		"dead resolver": func(n *cdntest.Names) { n.Fail(errors.New("connection refused")) },
		"SERVFAIL": func(n *cdntest.Names) {
			n.Fail(&net.DNSError{Err: "server misbehaving", Name: "edge", IsTemporary: true})
		},
		"timeout":     func(n *cdntest.Names) { n.Hang(true) },
		"NXDOMAIN":    func(n *cdntest.Names) { n.Set("edge"); n.SetSRV("_delta._tcp.example.com") },
		"no good one": func(n *cdntest.Names) { n.Set("edge", addrs("0.0.0.0")...); n.SetSRV("_delta._tcp.example.com") },
	} {
		for _, of := range []string{"https://edge", "_delta._tcp.example.com"} {
			t.Run(name+" of "+of, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testLastAnswerStands(t, of, fail) })
			})
		}
	}
}

func testLastAnswerStands(t *testing.T, of string, fail func(*cdntest.Names)) {
	d := newDNSTest(t, cdn.DNSConfig{MaxStale: time.Hour}, of)
	set := func() {
		d.names.Hang(false)
		d.names.Fail(nil)
		d.names.Set("edge", addrs("192.0.2.1")...)
		d.names.SetSRV("_delta._tcp.example.com", net.SRV{Target: "edge.", Port: 443})
	}
	set()
	want := d.places()
	require.Len(t, want, 1)
	fail(d.names)
	looked := d.names.Lookups()
	for range 59 * 60 {
		time.Sleep(time.Second)
		began := time.Now()
		require.Equal(t, want, d.places())
		require.Zero(t, time.Since(began), "nobody waits for a dead resolver")
	}
	assert.Less(t, d.names.Lookups()-looked, 3*59*60/20, "it is tried a little sooner than one that answers")
	assert.Equal(t, 4, strings.Count(d.log.String(), "level=WARN"), "at once, then seldom: "+d.log.String())
	time.Sleep(2 * time.Minute)
	_, err := d.Find(t.Context(), "live")
	require.ErrorIs(t, err, cdn.ErrPeerLost)
	require.ErrorContains(t, err, strings.TrimPrefix(of, "https://"))
	time.Sleep(time.Minute)
	_, err = d.Nodes(t.Context())
	require.ErrorIs(t, err, cdn.ErrPeerLost)
	synctest.Wait()
	set()
	time.Sleep(time.Minute)
	_, _ = d.Find(t.Context(), "live")
	synctest.Wait()
	assert.Equal(t, want, d.places())
	assert.Equal(t, 1, strings.Count(d.log.String(), "can be looked up again"), d.log.String())
	assert.Equal(t, 5, strings.Count(d.log.String(), "level=WARN"), "once more that it is too long: "+d.log.String())
}

// A failed name is tried again soon.
func TestDNSRecoversSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDNSTest(t, cdn.DNSConfig{}, "https://edge")
		for range 10 {
			_, err := d.Find(t.Context(), "live")
			require.ErrorIs(t, err, cdn.ErrPeerLost)
		}
		assert.Equal(t, 2, d.names.Lookups(), "those who ask meanwhile get the same answer")
		d.names.Set("edge", addrs("192.0.2.1")...)
		time.Sleep(2 * time.Second)
		_, _ = d.Find(t.Context(), "live")
		synctest.Wait()
		assert.Equal(t, []string{"https://edge at 192.0.2.1"}, d.places())
	})
}

// A question waits for the first answer until its context ends, and not for a name that
// hangs where another has an answer.
func TestDNSFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDNSTest(t, cdn.DNSConfig{}, "https://edge")
		d.names.Hang(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := d.Find(ctx, "live")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, func() error { _, err := d.Nodes(ctx); return err }(), context.DeadlineExceeded)
		began := time.Now()
		_, err = d.Find(t.Context(), "live")
		require.ErrorIs(t, err, cdn.ErrPeerLost)
		require.Equal(t, 4*time.Second, time.Since(began), "the lookup is given up then")

		both := newDNSTest(t, cdn.DNSConfig{}, "https://edge", "http://192.0.2.9")
		both.names.Hang(true)
		began = time.Now()
		assert.Equal(t, []string{"http://192.0.2.9"}, both.places())
		require.Less(t, time.Since(began), time.Second)
	})
}

// halfResolver fails for one family.
type halfResolver struct {
	*cdntest.Names
	fails string
	err   error
}

func (r *halfResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if network == r.fails {
		return nil, r.err
	}
	return r.Names.LookupNetIP(ctx, network, host)
}

// The two families are known apart: the failure of one leaves its last answer, and the
// other's changes count.
func TestDNSFamilies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &halfResolver{Names: &cdntest.Names{}}
		dns, err := cdn.NewDNS(cdn.DNSConfig{Names: []string{"edge"}, Resolver: r})
		require.NoError(t, err)
		defer dns.Close()
		d := &dnsTest{t: t, names: r.Names, DNS: dns}
		r.Set("edge", addrs("192.0.2.1", "2001:db8::1")...)
		assert.Equal(t, []string{"https://edge at 192.0.2.1", "https://edge at 2001:db8::1"}, d.places())
		r.fails, r.err = "ip6", errors.New("server misbehaving")
		r.Set("edge", addrs("192.0.2.2")...)
		assert.Equal(t, []string{"https://edge at 192.0.2.2", "https://edge at 2001:db8::1"}, d.later(time.Minute))
		r.fails = ""
		assert.Equal(t, []string{"https://edge at 192.0.2.2"}, d.later(time.Minute), "there is none any more")
		r.Set("edge", addrs("2001:db8::3")...)
		assert.Equal(t, []string{"https://edge at 2001:db8::3"}, d.later(time.Minute))
	})
}

func TestDNSServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDNSTest(t, cdn.DNSConfig{}, "http://_delta._tcp.example.com/delta", "last")
		d.names.SetSRV("_delta._tcp.example.com",
			net.SRV{Target: "far.example.com.", Port: 7000, Priority: 20}, net.SRV{Target: "near.example.com.", Port: 7001, Priority: 10},
			net.SRV{Target: "near.example.com.", Port: 7001, Priority: 30}, net.SRV{Target: "gone.example.com.", Port: 7000})
		d.names.Set("near.example.com", addrs("192.0.2.1", "2001:db8::1")...)
		d.names.Set("far.example.com", addrs("192.0.2.2")...)
		d.names.Set("last", addrs("192.0.2.3")...)
		near := []string{"http://near.example.com:7001/delta at 192.0.2.1", "http://near.example.com:7001/delta at 2001:db8::1"}
		far, last := "http://far.example.com:7000/delta at 192.0.2.2", "https://last at 192.0.2.3"
		assert.Equal(t, append(slices.Clone(near), far, last), d.places())

		// One host cannot be looked up, and another comes.
		d.names.Set("near.example.com")
		d.names.Set("new.example.com", addrs("192.0.2.4")...)
		d.names.SetSRV("_delta._tcp.example.com",
			net.SRV{Target: "new.example.com", Port: 7002, Priority: 1}, net.SRV{Target: "near.example.com", Port: 7001, Priority: 10})
		assert.Equal(t, append([]string{"http://new.example.com:7002/delta at 192.0.2.4"}, append(near, last)...), d.later(time.Minute))
	})
}

// Of records of equal priority each comes first in as many processes as its weight says.
func TestDNSWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const processes = 2000
		first := map[string]int{}
		for range processes {
			d := newDNSTest(t, cdn.DNSConfig{}, "_delta._tcp.example.com")
			var records []net.SRV
			for i, weight := range []uint16{0, 10, 30, 60} {
				host := fmt.Sprintf("h%d", weight)
				records = append(records, net.SRV{Target: host, Port: 1, Weight: weight})
				d.names.Set(host, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
			}
			d.names.SetSRV("_delta._tcp.example.com", records...)
			entries, err := d.Find(t.Context(), "live")
			require.NoError(t, err)
			first[entries[0].URL]++
			require.NoError(t, d.Close())
		}
		for _, weight := range []int{0, 10, 30, 60} {
			assert.InDelta(t, processes*weight/100, first[fmt.Sprintf("https://h%d:1", weight)], processes/20, "weight %d", weight)
		}
	})
}

// What cannot be a node's address or name is left out, and what is too much.
func TestDNSHostileAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDNSTest(t, cdn.DNSConfig{Limit: 5}, "edge", "_delta._tcp.example.com")
		many := addrs("0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1%eth0")
		for i := range 5000 {
			many = append(many, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		}
		d.names.Set("edge", many...)
		before := d.places()
		assert.Len(t, before, 5)
		d.names.Set("edge", append([]netip.Addr{{}}, many...)...)
		assert.Equal(t, before, d.later(time.Minute), "the same ones are left out")

		var records []net.SRV
		for _, target := range []string{
			".", "", "..", "a..b", "evil.example.com/path", "evil.example.com:1", "user@evil", "evil?x", "evil#x", "a b", "é", "%41", "[::1]",
			"192.0.2.1", "::1", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a", "evil\r\nX: y",
		} {
			records = append(records, net.SRV{Target: target, Port: 443})
			d.names.Set(strings.TrimSuffix(target, "."), addrs("192.0.2.66")...)
		}
		records = append(records, net.SRV{Target: "noport"})
		for i := range 3000 {
			host := fmt.Sprintf("h%d", i)
			records = append(records, net.SRV{Target: host, Port: 443, Priority: 1})
			d.names.Set(host, addrs("192.0.2.1", "192.0.2.2")...)
		}
		d.names.Set("edge", addrs("192.0.2.7")...)
		d.names.SetSRV("_delta._tcp.example.com", records...)
		lookups := d.names.Lookups()
		after := d.later(time.Minute)
		require.Len(t, after, 5)
		assert.Equal(t, "https://edge at 192.0.2.7", after[0])
		for _, p := range after[1:] {
			assert.Regexp(t, `^https://h\d+:443 at 192\.0\.2\.[12]$`, p)
		}
		assert.LessOrEqual(t, d.names.Lookups()-lookups, 2+1+2*5)
	})
}

func TestDNSInvalid(t *testing.T) {
	for _, bad := range []string{
		"", "https://", "https://:7000", "/link", "//edge", "https://edge?x=1", "https://edge#", "https://edge/%zz",
		"https://_delta._tcp.example.com:443", "https://édge", "https://a..b", "https://" + strings.Repeat("a", 64), "https://e%20dge",
	} {
		_, err := cdn.NewDNS(cdn.DNSConfig{Names: []string{"good", bad}})
		require.ErrorIs(t, err, cdn.ErrInvalid, "%q", bad)
		var typed *cdn.Error
		require.ErrorAs(t, err, &typed)
	}
	_, err := cdn.NewDNS(cdn.DNSConfig{})
	require.ErrorIs(t, err, cdn.ErrInvalid)
	_, err = cdn.NewDNS(cdn.DNSConfig{Names: []string{"https://user:secret@a..b"}})
	require.ErrorContains(t, err, "user:xxxxx@a..b")
}

// What is put is forgotten; a context that has ended is said so.
func TestDNSForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDNSTest(t, cdn.DNSConfig{}, "http://192.0.2.1")
		e, n := cdn.Entry{Stream: "live", Node: "n", URL: "https://n"}, cdn.NodeEntry{Node: "n"}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for ctx, want := range map[context.Context]error{t.Context(): nil, ended: context.Canceled} {
			assert.ErrorIs(t, d.Put(ctx, e, time.Second), want)
			assert.ErrorIs(t, d.Remove(ctx, e), want)
			assert.ErrorIs(t, d.PutNode(ctx, n, time.Second), want)
			assert.ErrorIs(t, d.RemoveNode(ctx, "n"), want)
			_, err := d.Find(ctx, "live")
			assert.ErrorIs(t, err, want)
			_, err = d.Nodes(ctx)
			assert.ErrorIs(t, err, want)
		}
		assert.Equal(t, []string{"http://192.0.2.1"}, d.places())
	})
}

// Close ends what runs; the bubble would notice a goroutine that is left.
func TestDNSClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDNSTest(t, cdn.DNSConfig{}, "edge", "_delta._tcp.example.com")
		d.names.Hang(true)
		asked := make(chan error)
		go func() {
			_, err := d.Find(context.Background(), "live")
			asked <- err
		}()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, d.Close())
		require.Zero(t, time.Since(began))
		require.ErrorIs(t, <-asked, cdn.ErrClosed)
		_, err := d.Find(t.Context(), "live")
		require.ErrorIs(t, err, cdn.ErrClosed)
		require.NoError(t, d.Close())
		assert.Empty(t, d.log.String())
	})
}
