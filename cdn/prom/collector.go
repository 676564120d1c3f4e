// Package prom exports what a node counts to Prometheus:
//
//	c := prom.New(prom.Config{Node: node, Edge: edge, Origin: origin, Server: server})
//	http.Handle("/metrics", prom.Handler(c))
//
// There is no series for a viewer: their number would be that of the series. A stream
// has at most 60, which are gone when it is. docs/metrics.md lists all metrics, and
// docs/grafana/delta.json is a dashboard of them.
package prom

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// Config says what is exported.
type Config struct {
	// Node is the node. Required.
	Node *cdn.Node
	// Group is its [cdn.Config].Group, for delta_node_info.
	Group string
	// Edge, Origin and Server are the services on it. Those that are nil leave out the
	// metrics that only they know.
	Edge   *edge.Edge
	Origin *origin.Origin
	Server *relay.Server
}

// A Collector is a [prometheus.Collector] of one node. It keeps nothing between two
// scrapes. Its methods may be called concurrently.
type Collector struct{ config Config }

// New returns a Collector.
func New(c Config) *Collector { return &Collector{c} }

// Handler returns a handler of /metrics with the collectors given and those of the Go
// runtime and the process. It does not compress: at a thousand streams that would take
// most of the time. Metrics name streams and nodes: serve it where operators alone reach
// it.
func Handler(cs ...prometheus.Collector) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(cs...)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{DisableCompression: true})
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, f := range all {
		out <- f.desc
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	s := sink{out}
	st := c.config.Node.Stats()
	c.node(s, st)
	c.sessions(s, st.Totals)
	traffic(s, st.Totals)
	layerTotals(s, st.Totals.Layers)
	port(s, st.Egress, st.Unclaimed)
	tcpPort(s, st.TCP)
	c.links(s, st.Totals)
	c.streams(s, st.Streams)
	if c.config.Origin != nil {
		for reason, n := range c.config.Origin.Stats().Dropped {
			s.count(publisherDropped, n, reason)
		}
	}
}

func (c *Collector) node(s sink, st cdn.NodeStats) {
	n := c.config.Node
	s.set(nodeInfo, 1, string(st.Node), c.config.Group)
	s.set(nodeStarted, unix(st.Started))
	s.set(nodeLoad, n.Load())
	s.set(nodeDraining, truth(n.Draining()))
	s.set(sessionsLimit, float64(n.Limits().Sessions))
	s.set(streams, float64(len(st.Streams)))
	s.set(streamsLimit, float64(n.Limits().Streams))
	s.count(streamsStarted, st.Totals.StreamsStarted)
	s.count(streamsEnded, st.Totals.StreamsEnded)
	s.count(inputs, st.Totals.Inputs)
	s.count(upstreams, st.Totals.Upstreams)
}

func (c *Collector) sessions(s sink, t cdn.Totals) {
	for _, x := range []struct {
		action cdn.Action
		totals cdn.SessionTotals
	}{{cdn.ActionPublish, t.Publish}, {cdn.ActionPlay, t.Play}, {cdn.ActionFetch, t.Fetch}} {
		action, now := x.action.String(), x.totals.Started
		s.count(sessionsStarted, x.totals.Started, action)
		for reason, n := range x.totals.Ended {
			now -= n
			s.count(sessionsEnded, n, action, code(reason))
		}
		for reason, n := range x.totals.Refused {
			s.count(sessionsRefused, n, action, code(reason))
		}
		s.set(sessions, float64(now), action)
	}
	s.observe(answerTimes, t.AnswerTimes)
	s.observe(frameTimes, t.FirstFrameTimes)
	s.count(viewersShed, t.Shed)
	s.count(viewersSlow, t.Slow)
	s.count(uplinksNarrow, t.NarrowUplinks)
	s.count(unplayable, t.Unplayable)
	if c.config.Edge != nil {
		x := c.config.Edge.Steered()
		s.count(steered, x.Stayed, "stayed")
		s.count(steered, x.Arriving, "arriving")
		s.count(steered, x.Full, "full")
		s.count(steered, x.Leaving, "leaving")
		s.count(steered, x.Nowhere, "nowhere")
	}
}

// code is a reason as a label: what is over without one has ended well.
func code(reason string) string {
	if reason == "" {
		return "none"
	}
	return reason
}

func traffic(s sink, t cdn.Totals) {
	for _, x := range []struct {
		with string
		cdn.Traffic
	}{{"publishers", t.Publishers}, {"viewers", t.Viewers}, {"links", t.Links}, {"nodes", t.Nodes}} {
		if x.with != "publishers" {
			s.count(sentPackets, x.Sent.Packets, x.with)
			s.count(sentBytes, x.Sent.Bytes, x.with)
			s.count(sentRepairs, x.Sent.Repairs, x.with)
		}
		if x.with != "viewers" {
			s.count(receivedPackets, x.Received.Packets, x.with)
			s.count(receivedBytes, x.Received.Bytes, x.with)
			s.count(receivedRepairs, x.Received.Repairs, x.with)
			s.count(receivedDropped, x.Received.Dropped, x.with)
		}
	}
	s.count(controlPackets, t.Control.Sent.Packets, "sent")
	s.count(controlPackets, t.Control.Received.Packets, "received")
	s.count(controlBytes, t.Control.Sent.Bytes, "sent")
	s.count(controlBytes, t.Control.Received.Bytes, "received")
}

func layerTotals(s sink, t cdn.LayerTotals) {
	s.count(nacked, t.Nacked)
	s.count(duplicates, t.Duplicates)
	s.count(keyframes, t.Keyframes)
	s.count(requestsReceived, t.KeyframeRequests)
	s.count(requestsSent, t.KeyframeRequestsSent)
	s.count(splices, t.Splices)
	s.count(jumps, t.Jumps)
}

func port(s sink, e cdn.EgressStats, unclaimed uint64) {
	s.count(udpUnclaimed, unclaimed)
	s.count(udpDatagrams, e.Datagrams)
	s.count(udpMessages, e.Messages)
	s.count(udpCalls, e.Calls)
	s.count(udpDropped, e.Full, "full")
	s.count(udpDropped, e.Dropped, "error")
}

// tcpPort is only there if the node has a port for media by TCP.
func tcpPort(s sink, t cdn.TCPStats) {
	if t.Addr == "" {
		return
	}
	s.set(tcpClients, float64(t.Clients))
	s.set(tcpHalfOpen, float64(t.HalfOpen))
	s.set(tcpWaiting, float64(t.Waiting))
	s.count(tcpConnections, t.Accepted)
	s.count(tcpClosed, t.Refused, "refused")
	s.count(tcpClosed, t.Stalled, "stalled")
	s.count(tcpDropped, t.Full, "full")
	s.count(tcpDropped, t.Late, "late")
}

// maxPeers bounds the nodes that have series of their own: of more, those whose links
// came up last have none.
const maxPeers = 200

func (c *Collector) links(s sink, t cdn.Totals) {
	up := relay.Links(c.config.Node)
	s.set(links, float64(len(up)))
	s.count(linksUp, t.LinksUp)
	for reason, n := range t.LinksDown {
		s.count(linksDown, n, code(reason))
	}
	seen := make(map[cdn.NodeID]bool)
	for _, l := range slices.Backward(up) { // of two with one node, the newer one
		if seen[l.Node] || len(seen) >= maxPeers {
			continue
		}
		seen[l.Node] = true
		peer := string(l.Node)
		s.set(linkRTT, l.RTT.Seconds(), peer)
		s.set(linkLoss, l.Loss, peer)
		s.set(linkLoad, l.Load, peer)
		s.set(linkUp, unix(l.Up), peer)
		s.count(linkSent, l.Sent, peer)
		s.count(linkReceived, l.Received, peer)
		s.set(linkStreams, float64(len(l.Fetched)), peer, "in")
		s.set(linkStreams, float64(len(l.Served)), peer, "out")
	}
}

func (c *Collector) streams(s sink, all []cdn.StreamStats) {
	var viewers, nodes map[cdn.StreamID]int
	if c.config.Edge != nil {
		viewers = c.config.Edge.Viewers()
	}
	if c.config.Server != nil {
		nodes = c.config.Server.Serving()
	}
	seen := make(map[cdn.StreamID]bool, len(all))
	slices.SortStableFunc(all, func(a, b cdn.StreamStats) int { return int(truth(b.Live)) - int(truth(a.Live)) })
	for _, st := range all {
		if seen[st.Stream] {
			continue // one that ends beside the one that takes its name
		}
		seen[st.Stream] = true
		id := string(st.Stream)
		s.set(streamLive, truth(st.Live), id)
		s.set(streamStarted, unix(st.Started), id)
		s.set(streamHops, float64(len(st.Path)), id)
		if st.Delays != nil {
			sum := 0.0
			for _, d := range st.Delays {
				sum += d.Seconds()
			}
			s.set(streamDelay, sum, id)
		}
		if viewers != nil {
			s.set(streamViewers, float64(viewers[st.Stream]), id)
		}
		if nodes != nil {
			s.set(streamNodes, float64(nodes[st.Stream]), id)
		}
		layers(s, id, st.Tracks)
	}
}

// maxLayers bounds the layers of a stream that have series of their own. What the
// others have counted stands with the last one, whose name is then "others".
const maxLayers = 7

func layers(s sink, stream string, tracks []cdn.TrackStats) {
	type row struct {
		kind, track, layer string
		cdn.LayerStats
	}
	var rows []row
	for i, t := range tracks {
		for _, l := range t.Layers {
			r := row{t.Info.Kind.String(), strconv.Itoa(i), l.Name, l}
			if len(rows) == maxLayers {
				last := &rows[maxLayers-1]
				last.kind, last.track, last.layer = "", "", "others"
				last.Packets += l.Packets
				last.Bytes += l.Bytes
				last.Keyframes += l.Keyframes
				last.Nacked += l.Nacked
				last.Lost += l.Lost
				last.Demand += l.Demand
				last.KeyframeRequests += l.KeyframeRequests
				continue
			}
			rows = append(rows, r)
		}
	}
	for _, r := range rows {
		l := labels(layerLabels, stream, r.kind, r.track, r.layer)
		s.add(layerPackets, float64(r.Packets), l)
		s.add(layerBytes, float64(r.Bytes), l)
		s.add(layerKeyframes, float64(r.Keyframes), l)
		s.add(layerNacked, float64(r.Nacked), l)
		s.add(layerLost, float64(r.Lost), l)
		s.add(layerReceivers, float64(r.Demand), l)
		s.add(layerRequests, float64(r.KeyframeRequests), l)
	}
}
