package otel_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/cdn/otel"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/inproc"
)

// chain is an origin, a relay and an edge on a virtual network, each with a Tracer of
// its own, as processes have.
type chain struct {
	t       *testing.T
	network *cdntest.Network
	dialer  *inproc.Network
	spans   map[string]*tracetest.InMemoryExporter
	plain   string // the node that has no Tracer
}

func (c *chain) node(name string, path cdntest.Path) *cdn.Node {
	host := c.network.Host(name, path)
	config := cdn.Config{
		ID: cdn.NodeID(name), Addr: netip.AddrPortFrom(host.IP(), 7000).String(), Net: host.Net(),
		Authorizer: cdn.AuthorizerFunc(func(context.Context, cdn.AuthRequest) (cdn.Grant, error) { return cdn.Grant{}, nil }),
	}
	if name != c.plain {
		c.spans[name] = tracetest.NewInMemoryExporter()
		config.Tracer = otel.New(otel.Config{Provider: sdk.NewTracerProvider(sdk.WithSyncer(c.spans[name]))})
	}
	n, err := cdn.Listen(config)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { require.NoError(c.t, n.Close()) })
	return n
}

func (c *chain) fetch(n *cdn.Node, from string) *relay.Relay {
	links, err := relay.NewLink(n, relay.LinkConfig{Dialer: c.dialer})
	require.NoError(c.t, err)
	r, err := relay.New(n, relay.Config{Directory: cdn.Static("http://" + from), Fetcher: links})
	require.NoError(c.t, err)
	return r
}

func (c *chain) serve(n *cdn.Node, s cdn.Source) {
	server, err := relay.NewServer(n, s)
	require.NoError(c.t, err)
	c.dialer.Handle("http://"+string(n.ID())+relay.Prefix, server)
}

const (
	toOrigin = 7 * time.Millisecond  // from the relay
	toRelay  = 11 * time.Millisecond // from the edge
	toEdge   = 3 * time.Millisecond  // from the viewer
)

func newChain(t *testing.T, plain string) *chain {
	c := &chain{
		t: t, network: cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1}), dialer: inproc.New(inproc.Config{}),
		spans: make(map[string]*tracetest.InMemoryExporter), plain: plain,
	}
	near := cdntest.Path{}
	o := c.node("origin", near)
	live, err := origin.New(o, origin.Config{})
	require.NoError(t, err)
	c.dialer.Handle("http://origin/whip/", live)
	c.serve(o, live)
	r := c.node("relay", near)
	middle := c.fetch(r, "origin")
	c.serve(r, middle)
	e := c.node("edge", near)
	view, err := edge.New(e, edge.Config{Source: c.fetch(e, "relay")})
	require.NoError(t, err)
	c.dialer.Handle("http://edge/whep/", view)
	host := c.network.Host
	c.network.Between(host("origin", near), host("relay", near), cdntest.Path{Delay: toOrigin})
	c.network.Between(host("relay", near), host("edge", near), cdntest.Path{Delay: toRelay})
	c.network.Between(host("edge", near), host("viewer", near), cdntest.Path{Delay: toEdge})
	return c
}

// A step is a span, as it is looked at.
type step struct {
	tracetest.SpanStub
	node string
}

func (s step) lasted() time.Duration { return s.EndTime.Sub(s.StartTime) }

// of returns the spans of a trace, those that began first first.
func (c *chain) of(id trace.TraceID) (all []step) {
	for node, exporter := range c.spans {
		for _, s := range exporter.GetSpans() {
			if s.SpanContext.TraceID() == id {
				all = append(all, step{s, node})
			}
		}
	}
	slices.SortFunc(all, func(a, b step) int { return a.StartTime.Compare(b.StartTime) })
	return all
}

// lineage is a span with those that it is part of: "edge play/edge offer/edge authorize".
func lineage(all []step, s step) string {
	name := s.node + " " + s.Name
	for _, p := range all {
		if p.SpanContext.SpanID() == s.Parent.SpanID() {
			return lineage(all, p) + "/" + name
		}
	}
	return name
}

// publish sends a stream to the origin, one keyframe in a long while.
func (c *chain) publish() {
	cdntest.Publish(c.t, cdntest.PublisherConfig{
		Net: c.network.Host("publisher", cdntest.Path{}).Net(), Dialer: c.dialer, URL: "http://origin/whip/live", Stream: "live",
		Video: &cdntest.Video{Bitrate: 500_000, FPS: 25, KeyframeInterval: time.Minute},
	})
}

const (
	asked   = "0af7651916cd43dd8448eb211c80319c"
	request = "00-" + asked + "-b7ad6b7169203331-01"
)

// view plays a stream at the edge, in the trace of a page.
func (c *chain) view(stream cdn.StreamID) (*cdntest.Viewer, error) {
	return cdntest.NewViewer(cdn.WithTrace(c.t.Context(), cdn.ParseTraceContext(request, "")), cdntest.ViewerConfig{
		Net: c.network.Host("viewer", cdntest.Path{}).Net(), Dialer: c.dialer, URL: "http://edge/whep/" + string(stream), Stream: stream,
	})
}

// steps returns the trace that the viewer began, as "start, duration, lineage".
func (c *chain) steps() (all []step, lines []string) {
	id, err := trace.TraceIDFromHex(asked)
	require.NoError(c.t, err)
	all = c.of(id)
	for _, s := range all {
		lines = append(lines, fmt.Sprintf("%v, %v, %s", s.StartTime.Sub(all[0].StartTime), s.lasted(), lineage(all, s)))
	}
	slices.Sort(lines)
	return all, lines
}

// One trace leads from a viewer's request through every node to its first frame, and
// its steps take as long as the network does.
func TestOneTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, "")
		c.publish()
		time.Sleep(4 * time.Second) // links are up, and the only keyframe is old
		v, err := c.view("live")
		require.NoError(t, err)
		defer func() { require.NoError(t, v.Close()) }()
		within, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.NoError(t, v.WaitFrames(within, 1))
		time.Sleep(time.Second)

		all, lines := c.steps()
		t.Logf("the trace:\n%s", strings.Join(lines, "\n"))
		const (
			atRelay  = "edge play/edge wait for input/edge fetch/edge subscribe/relay serve"
			atOrigin = atRelay + "/relay wait for input/relay fetch/relay subscribe/origin serve"
			connect  = 7 * toEdge // a check, DTLS, and the flights between them
			answer   = 30 * time.Millisecond
		)
		have := 2 * (toRelay + toOrigin) // when the edge has the stream
		for lineage, want := range map[string]struct{ start, lasted time.Duration }{
			"edge play":                                               {0, answer + connect},
			"edge play/edge offer":                                    {0, answer},
			"edge play/edge offer/edge authorize":                     {0, 0},
			"edge play/edge wait for input":                           {0, have},
			"edge play/edge wait for input/edge fetch":                {0, have},
			"edge play/edge wait for input/edge fetch/edge subscribe": {0, have},
			atRelay:                                       {toRelay, 2 * toOrigin},
			atRelay + "/relay authorize":                  {toRelay, 0},
			atRelay + "/relay wait for input":             {toRelay, 2 * toOrigin},
			atRelay + "/relay wait for input/relay fetch": {toRelay, 2 * toOrigin},
			atRelay + "/relay wait for input/relay fetch/relay subscribe": {toRelay, 2 * toOrigin},
			atOrigin:                            {toRelay + toOrigin, 0},
			atOrigin + "/origin authorize":      {toRelay + toOrigin, 0},
			atOrigin + "/origin wait for input": {toRelay + toOrigin, 0},
			atRelay + "/relay wait for input/relay fetch/relay first packet": {toRelay + 2*toOrigin, 0},
			"edge play/edge wait for input/edge fetch/edge first packet":     {have, 0},
			"edge play/edge connect":      {answer, connect},
			"edge play/edge first packet": {answer + connect, 0},
			"edge play/edge first frame":  {answer + connect, 0},
		} {
			require.Contains(t, lines, fmt.Sprintf("%v, %v, %s", want.start, want.lasted, lineage))
		}
		asked := 0
		for _, s := range all {
			require.Zero(t, s.Status, s.Name)
			require.Equal(t, s.node, attr(s, cdn.AttrNode))
			require.Equal(t, strings.Contains("play serve", s.Name), s.Parent.IsRemote(), s.Name)
			if s.Name == "keyframe request" {
				asked++
			}
		}
		require.Positive(t, asked)
		require.Len(t, all, 19+asked)
		r := v.Report()
		require.Equal(t, answer+connect+toEdge, r.Video().First.Sub(r.Began), "the last span ends as the frame leaves")
	})
}

func attr(s step, key string) string {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			return a.Value.AsString()
		}
	}
	return ""
}

// A node without a Tracer passes on the trace of the others.
func TestUntracedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, "relay")
		c.publish()
		time.Sleep(time.Second)
		v, err := c.view("live")
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.NoError(t, v.Close())
		all, _ := c.steps()
		require.True(t, slices.ContainsFunc(all, func(s step) bool {
			return lineage(all, s) == "edge play/edge wait for input/edge fetch/edge subscribe/origin serve"
		}))
	})
}

// What fails says so in each span that it is about, and ends them all.
func TestFailedTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, "")
		time.Sleep(time.Second)
		v, err := c.view("nothing") // which it is answered ahead of
		require.NoError(t, err)
		defer func() { _ = v.Close() }()
		<-v.Done()
		time.Sleep(time.Second)
		all, lines := c.steps()
		failed := make(map[string]bool)
		for _, s := range all {
			if code := attr(s, otel.AttrError); code != "" {
				require.Equal(t, "not-found", code, s.Name)
				failed[s.node+" "+s.Name] = true
			}
		}
		for _, name := range []string{
			"edge play", "edge wait for input", "edge fetch", "edge subscribe", "relay serve", "relay wait for input",
			"relay fetch", "relay subscribe", "origin serve", "origin wait for input",
		} {
			require.True(t, failed[name], "%s in\n%s", name, strings.Join(lines, "\n"))
		}
	})
}

// A viewer whose client begins no trace has one of its own.
func TestEachViewerHasATrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, "")
		c.publish()
		time.Sleep(time.Second)
		for i := range 3 {
			v, err := cdntest.NewViewer(t.Context(), cdntest.ViewerConfig{
				Net: c.network.Host(fmt.Sprint("viewer ", i), cdntest.Path{}).Net(), Dialer: c.dialer, URL: "http://edge/whep/live", Stream: "live",
			})
			require.NoError(t, err)
			time.Sleep(time.Second)
			require.NoError(t, v.Close())
		}
		roots := make(map[trace.TraceID]bool)
		for _, s := range c.spans["edge"].GetSpans() {
			if s.Name == "play" {
				require.False(t, s.Parent.IsValid())
				roots[s.SpanContext.TraceID()] = true
			}
		}
		require.Len(t, roots, 3)
		for _, s := range c.spans["origin"].GetSpans() {
			require.True(t, roots[s.SpanContext.TraceID()] || s.Name != "serve")
		}
	})
}
