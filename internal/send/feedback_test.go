package send

import (
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
)

// slowSocket holds up the first packet that it is given.
type slowSocket struct {
	outbox
	once     sync.Once
	entered  chan struct{}
	released chan struct{}
}

func (s *slowSocket) WriteRTP(header, payload []byte) (int, error) {
	s.once.Do(func() {
		close(s.entered)
		<-s.released
	})
	return s.outbox.WriteRTP(header, payload)
}

// Who hears what a receiver says does not wait while media is being sent to it,
// nor does who wants to know whether any is. What was said is answered all the
// same, by who sends.
func TestHearDoesNotWaitForConsume(t *testing.T) {
	stream, in := oneTrack(t, "")
	track := stream.Tracks()[0]
	out := &outbox{}
	set := New(Config{})
	s := set.Add(&Line{Track: track, PT: 96, RTX: 97}, track.Layers()[0], "")
	s.Bind(Output{To: out, SSRC: 7, RTX: 8})
	set.Start()
	write(in[0], 100, 1000, true)
	set.Consume(time.Now(), nil)
	require.Len(t, out.sent, 1)
	time.Sleep(5 * time.Millisecond) // a packet this young is not repaired
	write(in[0], 101, 1001, false)

	socket := &slowSocket{entered: make(chan struct{}), released: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() { set.Consume(time.Now(), socket) })
	<-socket.entered
	nack, err := rtcp.Marshal([]rtcp.Packet{&rtcp.TransportLayerNack{
		SenderSSRC: 1, MediaSSRC: 7, Nacks: []rtcp.NackPair{{PacketID: out.sent[0].SequenceNumber}},
	}})
	require.NoError(t, err)
	for range 2 * maxInbox / len(nack) {
		require.False(t, set.Hear(time.Now(), nack))
	}
	require.False(t, set.Idle(time.Now()))
	set.inbox.mu.Lock()
	require.LessOrEqual(t, len(set.inbox.compound), maxInbox)
	set.inbox.mu.Unlock()
	close(socket.released)
	wg.Wait()
	var repaired bool
	for _, p := range socket.sent {
		repaired = repaired || p.SSRC == 8
	}
	require.True(t, repaired)
	require.Len(t, out.sent, 1, "the reader's own output is not used by others")
}

// Idle is when nothing was sent for a second.
func TestIdle(t *testing.T) {
	stream, in := oneTrack(t, "")
	track := stream.Tracks()[0]
	set := New(Config{})
	set.Add(&Line{Track: track, PT: 96}, track.Layers()[0], "").Bind(Output{To: &outbox{}, SSRC: 7})
	require.True(t, set.Idle(time.Now()))
	set.Start()
	write(in[0], 100, 1000, true)
	set.Consume(time.Now(), nil)
	require.False(t, set.Idle(time.Now()))
	require.True(t, set.Idle(time.Now().Add(1100*time.Millisecond)))
}
