package icetcp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/deltacdn/delta/internal/endpoint/halfopen"
	"github.com/deltacdn/delta/internal/udp/socket"
)

const (
	// stalledAfter is how long a client may take nothing of what is written.
	stalledAfter = 10 * time.Second
	// farewell is how long what waits may take once the connection is to be closed,
	// and then the client to close it, too.
	farewell = 500 * time.Millisecond
)

// A client is one connection. One goroutine reads it; another one lives as long as
// something waits to be written.
type client struct {
	// static
	listener *Listener
	conn     net.Conn
	at       netip.AddrPort // as [Address] returns it
	slot     halfopen.Slot

	claimed bool // guarded by the listener's mu

	mu      sync.Mutex
	queue   queue  // what waits
	out     []byte // the writer's buffer
	writing bool   // there is a writer
	ending  bool   // nothing more is taken, and the connection is closed at the end
}

// read reads the connection until it is over.
func (c *client) read() {
	defer c.gone()
	s := &splitter{from: c.conn}
	var packets [][]byte
	var batch []socket.Datagram
	for {
		var err error
		packets, err = s.read(packets[:0])
		batch = batch[:0]
		for _, p := range packets {
			batch = append(batch, socket.Datagram{Bytes: p, From: c.at})
		}
		if len(batch) > 0 && !c.isEnding() && !c.listener.receive(c, batch) {
			c.listener.count.unknown.Add(1)
			return
		}
		if err != nil {
			c.over(err)
			return
		}
	}
}

// gone is the reader's end: nothing is taken for the client any more.
func (c *client) gone() {
	_ = c.conn.Close()
	c.listener.forget(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true // so no writer begins, whom nobody would wait for
}

// over counts the end of the connection, by reason.
func (c *client) over(err error) {
	n := &c.listener.count
	switch {
	case errors.Is(err, errTooLong):
		n.malformed.Add(1)
	case errors.Is(err, os.ErrDeadlineExceeded) && !c.isEnding():
		n.silent.Add(1)
	}
}

func (c *client) isEnding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// send queues a packet. It does not wait.
func (c *client) send(packet []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return false
	}
	ok, late := c.queue.put(time.Now(), packet)
	c.listener.count.late.Add(uint64(late))
	if !ok {
		return false
	}
	if !c.writing {
		c.writing = true
		c.listener.work.Go(c.write)
	}
	return true
}

// hasRoom reports whether little waits.
func (c *client) hasRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue.hasRoom()
}

func (c *client) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue.waiting()
}

// write writes what waits, until nothing does.
func (c *client) write() {
	for {
		out, last := c.next()
		if len(out) == 0 {
			if last {
				c.hangUp()
			}
			return
		}
		if _, err := c.conn.Write(out); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && !last {
				c.listener.count.stalled.Add(1)
			}
			_ = c.conn.Close() // the reader sees it, and forgets the client
			return             // and stays the writer: nothing is written any more
		}
	}
}

// next returns what is to be written next; none: the writer is done. It reports
// whether the connection is to be closed then.
func (c *client) next() (out []byte, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var late int
	c.out, late = c.queue.take(time.Now(), c.out[:0])
	c.listener.count.late.Add(uint64(late))
	if len(c.out) == 0 {
		c.writing = c.ending // nobody writes after the end
	}
	if !c.ending { // else it has its deadline
		_ = c.conn.SetWriteDeadline(time.Now().Add(stalledAfter))
	}
	return c.out, c.ending
}

// end closes the connection when what waits is written, and does not wait.
func (c *client) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return
	}
	c.ending = true
	_ = c.conn.SetWriteDeadline(time.Now().Add(farewell))
	if !c.writing {
		c.writing = true
		c.listener.work.Go(c.write)
	}
}

// hangUp closes our half of the connection, and leaves the client a moment to close
// its own: to close it while something is still to be read would take back what
// was written last.
func (c *client) hangUp() {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		_ = c.conn.Close()
		return
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(farewell))
}
