package send

import (
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// slowSocket holds up the first packet that it is given.
type slowSocket struct {
	sendtest.Receiver
	once     sync.Once
	entered  chan struct{}
	released chan struct{}
}

func (s *slowSocket) WriteRTP(header, payload []byte) (int, error) {
	s.once.Do(func() {
		close(s.entered)
		<-s.released
	})
	return s.Receiver.WriteRTP(header, payload)
}

// While media is being sent to a receiver, neither its feedback waits, nor a caller that
// wants to know whether any is sent. Consume answers the feedback.
func TestFeedbackDoesNotWaitForConsume(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
		v.join(Config{})
		v.layer.Frame(true)
		v.serve()
		require.Len(t, v.Packets, 1)
		time.Sleep(5 * ms) // a packet this young is not repaired
		v.layer.Frame(false)

		socket := &slowSocket{entered: make(chan struct{}), released: make(chan struct{})}
		var wg sync.WaitGroup
		wg.Go(func() { v.set.Consume(time.Now(), socket) })
		<-socket.entered
		question := &rtcp.ExtendedReport{SenderSSRC: 9, Reports: []rtcp.ReportBlock{&rtcp.ReceiverReferenceTimeReportBlock{NTPTimestamp: 77}}}
		outcome := v.says(nack(v.Packets[0].SequenceNumber, 0), question)
		require.Equal(t, Outcome{Question: feedback.Message{Kind: feedback.Time, SSRC: 9, NTP: 77}}, outcome)
		for range 2 * maxInbox / messageLen {
			require.Zero(t, v.says(nack(v.Packets[0].SequenceNumber, 0)))
		}
		require.False(t, v.set.Idle(time.Now()))
		v.set.inbox.mu.Lock()
		require.LessOrEqual(t, v.set.inbox.bytes, maxInbox)
		require.Len(t, v.set.inbox.messages, maxInbox/(messageLen+4))
		v.set.inbox.mu.Unlock()
		close(socket.released)
		wg.Wait()
		var repaired bool
		for _, p := range socket.Packets {
			repaired = repaired || p.SSRC == 2
		}
		require.True(t, repaired)
		require.Len(t, v.Packets, 1, "the reader's own output is not used by others")
	})
}

// A message is handled by the sender that it is about, however it comes.
func TestFeedbackIsRoutedBySSRC(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8("l", "h")}, func(v *viewer) {
		v.add(Config{Node: true})
		other := v.set.Add(&Line{Track: v.Track, PT: 96}, v.Layers[1].Layer, "h")
		other.Bind(Output{To: v, SSRC: 3})
		v.start()
		v.Play(500*ms, 0, 1)
		report := func(ssrc uint32, lost uint8) rtcp.Packet {
			return &rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: ssrc, FractionLost: lost}}}
		}
		v.says(report(1, 64), report(3, 128), report(4, 192))
		require.Equal(t, []float32{0.25, 0.5}, []float32{v.sender.reports.loss, other.reports.loss})
		v.set.Handle(time.Now(), feedback.Message{Kind: feedback.Report, SSRC: 3, Lost: 64})
		require.Equal(t, []float32{0.25, 0.25}, []float32{v.sender.reports.loss, other.reports.loss})
		raw, err := rtcp.Marshal([]rtcp.Packet{report(1, 0), report(3, 0)})
		require.NoError(t, err)
		other.HandleRTCP(time.Now(), raw)
		require.Equal(t, []float32{0.25, 0}, []float32{v.sender.reports.loss, other.reports.loss})
		asked := []int32{v.Layers[0].Asked.Load(), v.Layers[1].Asked.Load()}
		v.says(&rtcp.PictureLossIndication{SenderSSRC: 9, MediaSSRC: 3})
		v.Play(time.Second)
		require.Equal(t, asked[0], v.Layers[0].Asked.Load())
		require.Greater(t, v.Layers[1].Asked.Load(), asked[1])
	})
}

// Idle is when nothing was sent for a second.
func TestIdle(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
		v.add(Config{})
		require.True(t, v.set.Idle(time.Now()))
		v.start()
		v.layer.Frame(true)
		v.serve()
		require.False(t, v.set.Idle(time.Now()))
		require.True(t, v.set.Idle(time.Now().Add(1100*ms)))
	})
}
