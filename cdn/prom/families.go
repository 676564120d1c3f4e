package prom

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// A Family is a metric: what /metrics has under one name.
type Family struct {
	Name   string
	Type   string // "counter", "gauge" or "histogram"
	Help   string
	Labels []string
	desc   *prometheus.Desc
}

// all has every family, in the order in which they are made.
var all []*Family

func family(kind, name, help string, labels ...string) *Family {
	f := &Family{Name: "delta_" + name, Type: kind, Help: help, Labels: labels}
	f.desc = prometheus.NewDesc(f.Name, help, labels, nil)
	all = append(all, f)
	return f
}

func counter(name, help string, labels ...string) *Family {
	return family("counter", name, help, labels...)
}

func gauge(name, help string, labels ...string) *Family {
	return family("gauge", name, help, labels...)
}

func histogram(name, help string) *Family { return family("histogram", name, help) }

// Families returns all metrics that a [Collector] may have.
func Families() (copied []Family) {
	for _, f := range all {
		c := *f
		c.Labels = slices.Clone(f.Labels)
		copied = append(copied, c)
	}
	return copied
}

// The node.
var (
	nodeInfo      = gauge("node_info", "1, with the node's name and group.", "node", "group")
	nodeStarted   = gauge("node_start_time_seconds", "When the node was started, in Unix time.")
	nodeLoad      = gauge("node_load_ratio", "Share of the node's capacity in use, 0 to 1: of its session limit or of what it can send, whichever is more.")
	nodeDraining  = gauge("node_draining", "1 while the node is leaving and takes nothing on, else 0.")
	sessions      = gauge("sessions", "Sessions that have started and not ended, by what they do.", "action")
	sessionsLimit = gauge("sessions_limit", "How many sessions the node takes at most.")
	streams       = gauge("streams", "Streams at the node, published here or fetched.")
	streamsLimit  = gauge("streams_limit", "How many streams the node takes at most.")
	links         = gauge("links", "Links with other nodes that are up.")
)

// What happened to sessions.
var (
	sessionsStarted = counter("sessions_started_total", "Sessions that were let in and made.", "action")
	sessionsEnded   = counter("sessions_ended_total", "Sessions that had started and are over, by the code of the reason.", "action", "reason")
	sessionsRefused = counter("sessions_refused_total", "Requests that did not become a session, by the code of the reason.", "action", "reason")
	answerTimes     = histogram("answer_duration_seconds", "How long viewers waited for the answer to their offer.")
	frameTimes      = histogram("first_frame_duration_seconds", "How long viewers waited from their offer until their first whole frame was sent.")
	viewersShed     = counter("viewers_shed_total", "Times that a viewer lost video or sound because the node was behind.")
	viewersSlow     = counter("viewers_slow_total", "Measures against viewers that could not take what they were sent.")
	uplinksNarrow   = counter("uplinks_narrow_total", "Times that the path of a publisher to this node became too narrow for what it sends.")
	unplayable      = counter("viewers_unplayable_tracks_total", "Tracks that viewers wanted and offered no codec for.")
	steered         = counter("viewers_steered_total", "Questions where a viewer should go, by what came of them. Only with an edge.", "outcome")
)

// Media.
var (
	sentPackets      = counter("sent_packets_total", "RTP packets sent, repairs included.", "to")
	sentBytes        = counter("sent_bytes_total", "Bytes of RTP packets sent, with headers and what SRTP adds, without UDP and IP.", "to")
	sentRepairs      = counter("sent_repairs_total", "RTP packets that were sent again.", "to")
	receivedPackets  = counter("received_packets_total", "RTP packets received and taken, repairs included.", "from")
	receivedBytes    = counter("received_bytes_total", "Bytes of RTP packets received, with headers and what SRTP adds, without UDP and IP.", "from")
	receivedRepairs  = counter("received_repairs_total", "RTP packets received that were sent again.", "from")
	receivedDropped  = counter("received_dropped_packets_total", "RTP packets received and not taken: malformed, forged, doubled or of no track.", "from")
	publisherDropped = counter("publisher_dropped_packets_total", "RTP packets of publishers that were not taken, by reason. Only with an origin.", "reason")
	nacked           = counter("nacked_packets_total", "RTP packets that were lost on the way here and asked for again.")
	duplicates       = counter("duplicate_packets_total", "RTP packets that came twice, by whatever way.")
	keyframes        = counter("keyframes_total", "Keyframes received.")
	requestsReceived = counter("keyframe_requests_received_total", "Keyframe requests by receivers.")
	requestsSent     = counter("keyframe_requests_sent_total", "Keyframe requests passed on to senders.")
	splices          = counter("splices_total", "Times that a layer went on from another input.")
	jumps            = counter("sender_jumps_total", "Times that a sender's sequence numbers or timestamps jumped.")
)

// The UDP port.
var (
	udpDatagrams = counter("udp_sent_datagrams_total", "Datagrams sent in batches: media, and what viewers and links are answered.")
	udpMessages  = counter("udp_sent_messages_total", "Kernel messages that carried these datagrams.")
	udpCalls     = counter("udp_send_calls_total", "System calls that sent them.")
	udpDropped   = counter("udp_dropped_datagrams_total", "Datagrams that the system did not take: its buffer was full, or another error.", "reason")
	udpUnclaimed = counter("udp_unclaimed_datagrams_total", "Datagrams of DTLS and media from addresses that no session has. All that PeerConnections get is counted, too.")

	tcpClients     = gauge("tcp_clients", "Connections of clients whose media comes and goes by TCP.")
	tcpHalfOpen    = gauge("tcp_half_open_connections", "Connections whose client has not yet shown whose session it is of.")
	tcpWaiting     = gauge("tcp_waiting_bytes", "Bytes that wait for clients by TCP.")
	tcpConnections = counter("tcp_connections_total", "Connections for media by TCP.")
	tcpClosed      = counter("tcp_closed_connections_total", "Connections for media that the node closed: refused, as no session wanted them, or stalled, as the client took nothing for 10 s.", "reason")
	tcpDropped     = counter("tcp_dropped_packets_total", "Packets for clients by TCP that were dropped: full, as 256 KiB waited, or late, as they had waited for a second.", "reason")
)

// Streams and links.
var (
	streamsStarted = counter("streams_started_total", "Streams that had an input and tracks for the first time.")
	streamsEnded   = counter("streams_ended_total", "Streams that had started and are gone.")
	inputs         = counter("input_changes_total", "Times that another input fed a stream.")
	upstreams      = counter("upstream_changes_total", "Times that a fetched stream was given a node to come from.")
	linksUp        = counter("links_up_total", "Links that came up.")
	linksDown      = counter("links_down_total", "Links that were up and are over, by the code of the reason.", "reason")
	controlPackets = counter("link_control_datagrams_total", "Datagrams of the link protocol.", "direction")
	controlBytes   = counter("link_control_bytes_total", "Bytes of these datagrams, ahead of encryption.", "direction")

	linkRTT      = gauge("link_rtt_seconds", "Round trip to the other node.", "peer")
	linkLoss     = gauge("link_loss_ratio", "Share of probes that were lost.", "peer")
	linkLoad     = gauge("link_peer_load_ratio", "Share of the other node's capacity in use, as it says.", "peer")
	linkUp       = gauge("link_up_time_seconds", "When the link came up, in Unix time.", "peer")
	linkSent     = counter("link_sent_bytes_total", "Bytes of RTP packets sent by the link that is up.", "peer")
	linkReceived = counter("link_received_bytes_total", "Bytes of RTP packets received by the link that is up.", "peer")
	linkStreams  = gauge("link_streams", "Streams that travel by the link.", "peer", "direction")
)

// Of each stream.
var (
	streamLive    = gauge("stream_live", "1 while an input feeds the stream, else 0.", "stream")
	streamStarted = gauge("stream_start_time_seconds", "When the stream began at this node, in Unix time.", "stream")
	streamHops    = gauge("stream_hops", "Nodes that the stream comes through ahead of this one. 0: it is published here.", "stream")
	streamDelay   = gauge("stream_delay_seconds", "How long media takes from the origin to this node over the links. Missing: not known.", "stream")
	streamViewers = gauge("stream_viewers", "Viewers of the stream at this node. Only with an edge.", "stream")
	streamNodes   = gauge("stream_nodes", "Other nodes that have the stream from this one. Only with a relay server.", "stream")

	layerPackets   = counter("layer_packets_total", "RTP packets of the layer, each once.", layerLabels...)
	layerBytes     = counter("layer_bytes_total", "Bytes of payload of the layer.", layerLabels...)
	layerKeyframes = counter("layer_keyframes_total", "Keyframes of the layer.", layerLabels...)
	layerNacked    = counter("layer_nacked_packets_total", "RTP packets of the layer that were asked for again.", layerLabels...)
	layerLost      = gauge("layer_missing_packets", "RTP packets of the layer's present input that have not come, or not yet.", layerLabels...)
	layerReceivers = gauge("layer_receivers", "Viewers and nodes that want the layer.", layerLabels...)
	layerRequests  = counter("layer_keyframe_requests_total", "Keyframe requests for the layer by receivers.", layerLabels...)

	layerLabels = []string{"stream", "kind", "track", "layer"}
)
