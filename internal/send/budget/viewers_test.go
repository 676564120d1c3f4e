package budget

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A simulated viewer loses packets, and asks for them in one of three ways. Time is virtual.
type simulated struct {
	seed uint64
	loss float64       // of packets, and of repairs
	rtt  time.Duration // from a repair to the next request for the same packet, at least
	// deaf: it asks each 100 ms for each of the last 512 packets that has not come as
	// media, as pion's generator does, and not only for what it lacks.
	deaf bool
	// hostile: it asks each 20 ms for each of the last 512 packets.
	hostile bool
	config  Config
	room    func(now time.Time) float64 // nil: it is not known

	budget *Budget
	now    time.Time
	next   uint64
	lost   map[uint64]*lost

	media, repairs int // bytes, after the opening
	wanted, came   int // packets that were lost, and those of them that came by a repair
	unanswered     int // packets whose first request was refused
	events         []event
}

// An event is that something was sent.
type event struct {
	at     time.Time
	bytes  int
	repair bool
}

type lost struct {
	at    time.Time // when the viewer has noticed it
	asked time.Time
	came  time.Time // by repair
}

const simPacket = 1200

// run plays media for a minute, at 3.2 Mbit/s.
func (s *simulated) run() {
	s.budget, s.now, s.lost = New(s.config), epoch, map[uint64]*lost{}
	rng := rand.New(rand.NewPCG(s.seed, 1))
	for tick := range 20_000 {
		s.now = epoch.Add(time.Duration(tick) * 3 * ms)
		if tick%320 < 300 { // a pause now and then
			s.next++
			s.budget.Sent(s.now, simPacket)
			s.events = append(s.events, event{s.now, simPacket, false})
			if s.now.Sub(epoch) > time.Second {
				s.media += simPacket
			}
			if rng.Float64() < s.loss {
				s.lost[s.next] = &lost{at: s.now.Add(s.rtt)}
				s.wanted++
			}
		}
		switch {
		case s.hostile && tick%7 == 0:
			for seq := s.next; seq+slots > s.next && seq > 0; seq-- {
				s.ask(rng, seq)
			}
		case !s.hostile && tick%33 == 0:
			s.askForLost(rng)
		}
	}
}

func (s *simulated) askForLost(rng *rand.Rand) {
	var again []uint64
	for seq := s.next - min(s.next, slots) + 1; seq <= s.next; seq++ {
		l := s.lost[seq]
		if l == nil || l.at.After(s.now) || !s.deaf && !l.came.IsZero() && !l.came.After(s.now) || !s.deaf && s.now.Sub(l.asked) < s.rtt {
			continue
		}
		if s.budget.Repaired(seq) {
			again = append(again, seq)
			continue
		}
		first := l.asked.IsZero()
		l.asked = s.now
		if !s.ask(rng, seq) && first {
			s.unanswered++
		}
	}
	for _, seq := range again {
		s.lost[seq].asked = s.now
		s.ask(rng, seq)
	}
}

func (s *simulated) ask(rng *rand.Rand, seq uint64) bool {
	room := Unknown
	if s.room != nil {
		room = s.room(s.now)
	}
	copies := s.budget.Allow(s.now, Request{Seq: seq, Bytes: simPacket, RTT: s.rtt, Room: room})
	for range copies {
		s.budget.Spend(s.now, simPacket)
		s.events = append(s.events, event{s.now, simPacket, true})
		if s.now.Sub(epoch) > time.Second {
			s.repairs += simPacket
		}
		if l := s.lost[seq]; l != nil && l.came.IsZero() && rng.Float64() >= s.loss {
			l.came = s.now.Add(s.rtt / 2)
			s.came++
		}
	}
	return copies > 0
}

// Viewers that lose up to 20 % get what they have lost, whether they repeat their requests
// in vain or not, and never more than a quarter of the media and what was saved up.
func TestViewers(t *testing.T) {
	const saved = 100_000 // what a second of media earns
	for name, c := range map[string]struct {
		simulated
		came    float64 // of what was lost, at least
		repairs float64 // of the media, at most
	}{
		"1 %":          {simulated: simulated{loss: 0.01}, came: 0.99, repairs: 0.015},
		"5 %":          {simulated: simulated{loss: 0.05}, came: 0.99, repairs: 0.065},
		"10 %":         {simulated: simulated{loss: 0.1}, came: 0.99, repairs: 0.14},
		"15 %":         {simulated: simulated{loss: 0.15}, came: 0.97, repairs: 0.25},
		"deaf, 1 %":    {simulated: simulated{loss: 0.01, deaf: true}, came: 0.99, repairs: 0.03},
		"deaf, 5 %":    {simulated: simulated{loss: 0.05, deaf: true}, came: 0.99, repairs: 0.11},
		"deaf, 10 %":   {simulated: simulated{loss: 0.1, deaf: true}, came: 0.98, repairs: 0.21},
		"deaf, 20 %":   {simulated: simulated{loss: 0.2, deaf: true}, came: 0.8, repairs: 0.25},
		"asks for all": {simulated: simulated{loss: 0.05, hostile: true}, repairs: 0.25},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(4) {
				s := c.simulated
				s.seed, s.rtt = seed, 100*ms
				s.run()
				came, share := float64(s.came)/float64(max(1, s.wanted)), float64(s.repairs)/float64(s.media)
				t.Logf("of %d lost came %.4f; repairs are %.3f of the media; %d first requests refused; %+v", s.wanted, came, share, s.unanswered, s.budget.Denied())
				require.LessOrEqual(t, s.repairs, int(c.repairs*float64(s.media))+saved+simPacket)
				if s.hostile {
					continue
				}
				require.GreaterOrEqual(t, came, c.came)
				if s.loss <= 0.1 {
					require.Zero(t, s.unanswered)
				}
			}
		})
	}
}

// When something is repaired, no more was sent in the last second than the path carries,
// whatever is asked.
func TestRoom(t *testing.T) {
	const rate = 400_000 // bytes a second; media are 375,000 on average
	s := simulated{loss: 0.05, hostile: true, rtt: 100 * ms}
	s.room = func(now time.Time) float64 { return rate - s.budget.Rate(now) }
	s.run()
	require.NotZero(t, s.budget.Denied().Room)
	require.Greater(t, s.repairs, s.media/50)
	require.Less(t, s.repairs, s.media/8)
	sum, oldest := 0, 0
	for _, e := range s.events {
		sum += e.bytes
		for e.at.Sub(s.events[oldest].at) >= time.Second-spanBucket {
			sum -= s.events[oldest].bytes
			oldest++
		}
		if e.repair {
			require.LessOrEqual(t, sum, rate, "at %v", e.at.Sub(epoch))
		}
	}
}
