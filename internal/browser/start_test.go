package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/signal/whep"
)

// A source is a stream of pictures that show when they were made, and of
// silence. It stands for a publisher a round trip away.
type source struct {
	stream   *cdn.Stream
	interval time.Duration // of keyframes
	ignores  bool          // requests for keyframes
	rtt      time.Duration

	mu     sync.Mutex
	key    time.Time // when the last keyframe was
	wanted bool
}

func (s *source) Open(context.Context, cdn.Request) (*cdn.Subscription, error) {
	return cdn.NewSubscription(s.stream, nil), nil
}

// RequestKeyframe implements cdn.Upstream.
func (s *source) RequestKeyframe() {
	if s.ignores {
		return
	}
	time.AfterFunc(s.rtt, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wanted = true
	})
}

// Nack implements cdn.Upstream.
func (s *source) Nack([]uint16) {}

func (s *source) isKey(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.wanted && now.Sub(s.key) < s.interval-time.Millisecond {
		return false
	}
	s.key, s.wanted = now, false
	return true
}

// untilPhase returns when the newest keyframe will be as old as the share of the
// interval.
func (s *source) untilPhase(share float64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.key.Add(time.Duration(share * float64(s.interval)))
	for time.Until(at) < 0 {
		at = at.Add(s.interval)
	}
	return time.Until(at)
}

// run publishes 30 pictures and 50 packets of silence a second.
func (s *source) run(ctx context.Context, t *testing.T, in *cdn.Input) {
	video, err := in.Layer(0, "", s)
	require.NoError(t, err)
	audio, err := in.Layer(1, "", s)
	require.NoError(t, err)
	const tick = time.Second / 150
	var p painter
	payloader := codecs.H264Payloader{}
	var vseq, aseq uint16
	begun := time.Now()
	for i := 0; ; i++ {
		due := begun.Add(time.Duration(i) * tick)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
		}
		now := time.Now()
		if i%3 == 0 {
			aseq++
			audio.Write(now, &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: aseq, Timestamp: uint32(i * 320)}, Payload: []byte{0xf8, 0xff, 0xfe}}, nil)
		}
		if i%5 == 0 {
			ts := uint32(i * 600)
			unit := p.picture(stamp(uint32(due.UnixMilli())), s.isKey(due))
			all := payloader.Payload(1200, unit)
			for k, payload := range all {
				vseq++
				video.Write(now, &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: vseq, Timestamp: ts, Marker: k == len(all)-1}, Payload: payload}, nil)
			}
		}
		if i%150 == 1 {
			video.SenderReport(now, due, uint32(i*600))
			audio.SenderReport(now, due, uint32(i*320))
		}
	}
}

// A cell is one way to begin under one set of circumstances.
type cell struct {
	mode     edge.StartMode
	interval time.Duration
	rtt      time.Duration
	ignores  bool
	source   *source
	url      string
}

var modeNames = map[edge.StartMode]string{edge.StartAsk: "ask", edge.StartSnapshot: "snapshot", edge.StartCatchUp: "catch up"}

func (c *cell) String() string {
	publisher := "answers"
	if c.ignores {
		publisher = "ignores"
	}
	return fmt.Sprintf("| %s | %.0f s | %s | %d ms |", modeNames[c.mode], c.interval.Seconds(), publisher, c.rtt.Milliseconds())
}

// startNode runs an edge for each cell, each with a publisher of its own, on one
// node, and returns the address of the page.
func startNode(t *testing.T, cells []*cell) string {
	chromium(t)
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		require.NoError(t, node.Close())
	})
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(startPage))
	})
	for i, c := range cells {
		name := cdn.StreamID(fmt.Sprint("s", i))
		stream, err := node.NewStream(name)
		require.NoError(t, err)
		in, err := stream.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		require.NoError(t, in.Start([]cdn.TrackInfo{
			{ID: "v", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/H264", ClockRate: 90000, Fmtp: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c01f"}},
			{ID: "a", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}},
		}))
		c.source = &source{stream: stream, interval: c.interval, ignores: c.ignores, rtt: c.rtt}
		wg.Go(func() { c.source.run(ctx, t, in) })
		e, err := edge.New(node, edge.Config{Source: c.source, Start: func(cdn.StreamID) edge.Start { return edge.Start{Mode: c.mode} }})
		require.NoError(t, err)
		prefix := fmt.Sprintf("/%d/", i)
		h, err := whep.New(e, whep.Config{Prefix: prefix})
		require.NoError(t, err)
		mux.Handle(prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(c.rtt)
			h.ServeHTTP(w, r)
		}))
		c.url = prefix + string(name)
	}
	return server.URL
}

// startPage joins streams, and notes when each picture was shown and how old it
// was then.
const startPage = `<!doctype html><link rel="icon" href="data:,"><body style="margin:0"><script>
const canvas = document.createElement("canvas");
canvas.width = 8; canvas.height = 4;
const g = canvas.getContext("2d", {willReadFrequently: true});
function read(video) {
	g.imageSmoothingEnabled = false;
	g.drawImage(video, 0, 0, 8, 4);
	const d = g.getImageData(0, 0, 8, 4).data;
	let v = 0;
	for (let i = 0; i < 32; i++) if (d[4*i+1] > 128) v += 2**i;
	const ms = v % 2**24, check = Math.floor(v / 2**24);
	return (((ms >> 16) ^ (ms >> 8) ^ ms ^ 0x5a) & 255) === check ? ms : -1;
}
window.joined = {};
async function join(id, url) {
	const video = document.createElement("video");
	video.muted = true; video.autoplay = true; video.playsInline = true; video.style.width = "128px";
	document.body.append(video);
	const pc = new RTCPeerConnection();
	const j = joined[id] = {pc, video, frames: []};
	const media = new MediaStream();
	pc.ontrack = e => { media.addTrack(e.track); video.srcObject = media; };
	pc.addTransceiver("video", {direction: "recvonly"});
	pc.addTransceiver("audio", {direction: "recvonly"});
	const shown = (now, meta) => {
		const at = performance.timeOrigin + performance.now(), ms = read(video);
		if (ms >= 0) j.frames.push([at - j.begun, ((at - ms) % 2**24 + 2**24 + 1000) % 2**24 - 1000, meta.rtpTimestamp]);
		if (j.watched) video.requestVideoFrameCallback(shown);
	};
	j.watch = on => {
		j.watched = on;
		if (on) video.requestVideoFrameCallback(shown);
	};
	j.watch(true);
	await pc.setLocalDescription(await pc.createOffer());
	j.begun = performance.timeOrigin + performance.now();
	const r = await fetch(url, {method: "POST", headers: {"Content-Type": "application/sdp"}, body: pc.localDescription.sdp});
	await pc.setRemoteDescription({type: "answer", sdp: await r.text()});
}
function leave(id) {
	const j = joined[id];
	delete joined[id];
	if (j) { j.pc.close(); j.video.remove(); }
}
// report sums up the frames since from ms.
function report(id, from) {
	const f = joined[id].frames, late = f.filter(x => x[0] >= from).map(x => x[1]).sort((a, b) => a - b);
	if (!f.length) return {First: -1};
	const second = f.filter(x => x[0] < f[0][0] + 1000);
	return {First: f[0][0], Age: f[0][1], Second: second.length, Delay: late.length ? late[late.length >> 1] : -1,
		Gap: Math.max(0, ...f.slice(1).map((x, i) => x[0] - f[i][0])), Frames: f.length, All: f.slice(0, 60).map(x => x.map(Math.round))};
}
function sinceJoin(id) { return performance.timeOrigin + performance.now() - joined[id].begun; }
</script>`

// begun is what a viewer saw: when the first picture came after the POST, how
// old it was, how many were shown in the second that followed, and how old those
// are that are shown now.
type begun struct {
	First, Age, Second, Delay, Gap, Frames float64
	All                                    [][3]float64
}

func (p *page) report(id string, last time.Duration) begun {
	return eval[begun](p, fmt.Sprintf(`report(%q, sinceJoin(%q) - %d)`, id, id, last.Milliseconds()))
}

func joinURL(t *testing.T, server string, c *cell) string {
	if c.rtt == 0 {
		return c.url
	}
	return impaired(t, server, impairment{delay: c.rtt / 2}) + c.url
}

// TestViewersBeginAtOnce: a publisher that does not answer makes those wait who
// ask, and nobody else; and who has caught up sees what is live.
func TestViewersBeginAtOnce(t *testing.T) {
	// Without a round trip Chromium may decode a still picture before there is
	// anybody to show it.
	const rtt = 50 * time.Millisecond
	cells := []*cell{
		{mode: edge.StartAsk, interval: 4 * time.Second, rtt: rtt, ignores: true},
		{mode: edge.StartSnapshot, interval: 4 * time.Second, rtt: rtt, ignores: true},
		{mode: edge.StartCatchUp, interval: 4 * time.Second, rtt: rtt, ignores: true},
		{mode: edge.StartAsk, interval: 4 * time.Second, rtt: rtt},
	}
	server := startNode(t, cells)
	p := newBrowser(t).open(server)
	time.Sleep(time.Second)
	time.Sleep(cells[0].source.untilPhase(0.4))
	for i, c := range cells {
		eval[any](p, fmt.Sprintf(`void join("%d", %q)`, i, joinURL(t, server, c)))
	}
	time.Sleep(8 * time.Second)
	var all []begun
	for i, c := range cells {
		b := p.report(fmt.Sprint(i), time.Second)
		t.Logf("%s first picture after %.0f ms, %.0f ms old; %.0f in the first second; delay now %.0f ms", c, b.First, b.Age, b.Second, b.Delay)
		all = append(all, b)
	}
	ask, still, catchUp, answered := all[0], all[1], all[2], all[3]
	require.Greater(t, ask.First, 1500.0, "it waits for the next keyframe")
	require.Less(t, still.First, ask.First-500)
	require.Less(t, still.Second, 10.0)
	require.Less(t, catchUp.First, ask.First-500)
	require.Greater(t, catchUp.Age, 1000.0)
	require.Greater(t, catchUp.Second, still.Second+5)
	for _, b := range all {
		require.Less(t, b.Delay, answered.Delay+300, "a delay remains")
	}
}

// TestStartTable prints the table of docs/performance.md; .ci/start runs it. Each cell is
// three joins, a quarter, half and three quarters of an interval after a
// keyframe; the last stays for DELTA_START.
func TestStartTable(t *testing.T) {
	stay, err := time.ParseDuration(os.Getenv("DELTA_START"))
	if err != nil {
		t.Skip("DELTA_START says for how long to watch")
	}
	fmt.Println("| mode | keyframes every | publisher | round trip | first picture after ms | how old then, ms | pictures in the first second | longest gap ms | delay some seconds later, ms | delay a minute later, ms |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	for _, rtt := range []time.Duration{0, 50 * time.Millisecond} {
		for _, interval := range []time.Duration{1, 2, 10} {
			var cells []*cell // at once: more are too much for the machine
			for _, ignores := range []bool{false, true} {
				for _, mode := range []edge.StartMode{edge.StartAsk, edge.StartSnapshot, edge.StartCatchUp} {
					cells = append(cells, &cell{mode: mode, interval: interval * time.Second, ignores: ignores, rtt: rtt})
				}
			}
			t.Run(fmt.Sprint(rtt, interval), func(t *testing.T) { startTable(t, cells, stay) })
		}
	}
}

func startTable(t *testing.T, cells []*cell, stay time.Duration) {
	const settled = 5 * time.Second
	server := startNode(t, cells)
	p := newBrowser(t).open(server)
	time.Sleep(3 * time.Second)
	var mu sync.Mutex // the page does one thing at a time
	var wg sync.WaitGroup
	all := make([][]begun, len(cells))
	joined := make([]time.Time, len(cells))
	do := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		eval[any](p, fmt.Sprintf("void "+format, args...))
	}
	turn := make(chan struct{}, 3) // joins at once
	for i, c := range cells {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			for k, share := range []float64{0.25, 0.5, 0.75} {
				id := fmt.Sprintf("%d", i)
				to := joinURL(t, server, c)
				time.Sleep(c.source.untilPhase(share))
				do(`join(%q, %q)`, id, to)
				joined[i] = time.Now()
				time.Sleep(settled)
				for {
					mu.Lock()
					b := p.report(id, 2*time.Second)
					mu.Unlock()
					if since := time.Since(joined[i]); b.First >= 0 && since > time.Duration(b.First)*time.Millisecond+settled-time.Second || since > 20*time.Second {
						all[i] = append(all[i], b)
						break
					}
					time.Sleep(time.Second)
				}
				if k < 2 {
					do(`leave(%q)`, id)
				} else { // to look at all of them all the time is too much, too
					do(`joined[%q].watch(false)`, id)
				}
			}
		})
	}
	wg.Wait()
	last := make([]begun, len(cells))
	order := make([]int, len(cells))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return joined[a].Compare(joined[b]) })
	for _, i := range order {
		time.Sleep(time.Until(joined[i].Add(stay)))
		do(`joined["%d"].watch(true)`, i)
		time.Sleep(2 * time.Second)
		last[i] = p.report(fmt.Sprint(i), 1500*time.Millisecond)
		do(`joined["%d"].watch(false)`, i)
	}
	for i, c := range cells {
		if dir := os.Getenv("DELTA_START_RAW"); dir != "" {
			raw, _ := json.Marshal(all[i])
			_ = os.WriteFile(fmt.Sprintf("%s/%d-%s.json", dir, i, strings.ReplaceAll(c.String(), " ", "")), raw, 0o644)
		}
		fmt.Printf("%s %s | %s | %s | %s | %s | %.0f |\n", c,
			each(all[i], func(b begun) float64 { return b.First }),
			each(all[i], func(b begun) float64 { return b.Age }),
			each(all[i], func(b begun) float64 { return b.Second }),
			each(all[i], func(b begun) float64 { return b.Gap }),
			each(all[i], func(b begun) float64 { return b.Delay }), last[i].Delay)
	}
}

// each prints the least, the middle and the greatest.
func each(all []begun, f func(begun) float64) string {
	var v []float64
	for _, b := range all {
		v = append(v, f(b))
	}
	slices.Sort(v)
	return fmt.Sprintf("%.0f / %.0f / %.0f", v[0], v[len(v)/2], v[len(v)-1])
}
