package delta_test

import (
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/bwe/bwetest"
)

// asChromium reports as Chromium does: by transport-wide feedback on packets that have such
// numbers and, while packets have none, by an estimate (REMB) of its own.
func asChromium() cdntest.ViewerConfig {
	return cdntest.ViewerConfig{TransportFeedback: true, Tune: withREMB}
}

// withREMB has a viewer estimate by itself what its path carries, by when packets of video
// left (abs-send-time), and send that as a REMB.
func withREMB(_ *webrtc.SettingEngine, m *webrtc.MediaEngine, r *interceptor.Registry) error {
	m.RegisterFeedback(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBGoogREMB}, webrtc.RTPCodecTypeVideo)
	r.Add(rembFactory{})
	return m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.URIAbsSendTime}, webrtc.RTPCodecTypeVideo)
}

type rembFactory struct{}

func (rembFactory) NewInterceptor(string) (interceptor.Interceptor, error) {
	return &remb{done: make(chan struct{})}, nil
}

// A remb estimates by the same estimator as the sender, that sees nothing but arrivals. Its
// clock is the departure of the newest packet that has arrived: what is still on its way
// counts neither as sent nor as arrived.
type remb struct {
	interceptor.NoOp
	done    chan struct{}
	running sync.WaitGroup

	mu        sync.Mutex
	estimator *bwe.Estimator // nil: nothing has come
	began     time.Time      // when the first packet came
	left      uint32         // when the last packet left, in its own units
	elapsed   int64          // in these units, since the first left
	departed  time.Time      // when the newest packet left
	seq       uint16
	count     uint8
	arrivals  []bwetest.Arrival
	told      float64
	toldAt    time.Time
}

func (e *remb) BindRemoteStream(info *interceptor.StreamInfo, reader interceptor.RTPReader) interceptor.RTPReader {
	ids := map[string]uint8{}
	for _, x := range info.RTPHeaderExtensions {
		ids[x.URI] = uint8(x.ID)
	}
	return interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, a, err := reader.Read(b, a)
		if err != nil {
			return n, a, err
		}
		if a == nil {
			a = interceptor.Attributes{}
		}
		h, err := a.GetRTPHeader(b[:n])
		if err != nil {
			return n, a, err
		}
		if left := h.GetExtension(ids[sdp.URIAbsSendTime]); len(left) == 3 && h.GetExtension(ids[sdp.URITransportCC]) == nil {
			e.arrived(uint32(left[0])<<16|uint32(left[1])<<8|uint32(left[2]), n-h.MarshalSize())
		}
		return n, a, nil
	})
}

// arrived takes a packet that left at a time, in units of 2^-18 s modulo 64 s.
func (e *remb) arrived(left uint32, size int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if e.estimator == nil {
		e.began, e.left = now, left
		e.estimator = bwe.New(bwe.Config{TransportFeedback: true}, now)
		e.estimator.Wake(now)
	}
	e.elapsed += int64(int32((left-e.left)<<8) >> 8)
	e.left = left
	sent := e.began.Add(time.Duration(e.elapsed * int64(time.Second) >> 18))
	if sent.After(e.departed) {
		e.departed = sent
	}
	e.estimator.Sent(e.seq, sent, size, 0)
	e.arrivals = append(e.arrivals, bwetest.Arrival{Number: int(e.seq), At: now.Sub(e.began)})
	e.seq++
}

func (e *remb) BindRTCPWriter(w interceptor.RTCPWriter) interceptor.RTCPWriter {
	e.running.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-e.done:
				return
			case now := <-tick.C:
				if rate := e.update(now); rate > 0 {
					_, _ = w.Write([]rtcp.Packet{&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: float32(rate)}}, nil)
				}
			}
		}
	})
	return w
}

// update returns the estimate if it is to be sent: at once if it has fallen, and otherwise
// each 200 ms.
func (e *remb) update(now time.Time) float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.arrivals) == 0 {
		return 0
	}
	for i := range e.arrivals { // numbers may have wrapped on the way
		e.arrivals[i].Number = e.arrivals[0].Number + int(uint16(e.arrivals[i].Number-e.arrivals[0].Number))
	}
	if err := e.estimator.Feedback(e.departed, bwetest.Feedback(e.count, e.arrivals[0].Number, e.arrivals)); err != nil {
		panic(err)
	}
	e.count++
	e.arrivals = e.arrivals[:0]
	rate := e.estimator.State(e.departed).Bitrate
	if rate > 0.97*e.told && now.Sub(e.toldAt) < 200*time.Millisecond {
		return 0
	}
	e.told, e.toldAt = rate, now
	return rate
}

func (e *remb) Close() error {
	close(e.done)
	e.running.Wait()
	return nil
}
