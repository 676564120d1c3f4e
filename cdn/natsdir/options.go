package natsdir

import (
	"time"

	"github.com/nats-io/nats.go"
)

// Options returns options that suit a connection for a [Directory]: it is tried for
// ever, also the first time; a server that does not answer is left for another one
// within 6 s; and what could not be sent is not sent later.
func Options() []nats.Option {
	return []nats.Option{
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(500*time.Millisecond, time.Second),
		nats.Timeout(2 * time.Second),
		nats.PingInterval(2 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1),
	}
}
