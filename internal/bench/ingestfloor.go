package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// ingestFloor measures what it takes at the least to read and open the packets of as many
// publishers as send in [ingestMeter.measureMedia].
func ingestFloor(ctx context.Context, binary string, l load) (r publishing, err error) {
	r = publishing{kind: "floor", publishers: sending}
	server, err := startCommand(command(ctx, binary, "-kind", "ingest-floor", "-publishers", strconv.Itoa(sending)))
	if err != nil {
		return r, err
	}
	defer server.stop()
	var senders sealed
	defer senders.stop()
	for i := range sending {
		if err := senders.add(i, strings.TrimPrefix(server.url, "http://")); err != nil {
			return r, err
		}
	}
	if err := wait(ctx, l.settle); err != nil {
		return r, err
	}
	first, err := server.readSystem()
	if err != nil {
		return r, err
	}
	sent := senders.sent.Load()
	if err := wait(ctx, l.window); err != nil {
		return r, err
	}
	last, err := server.readSystem()
	if err != nil {
		return r, err
	}
	if sent = senders.sent.Load() - sent; sent == 0 {
		return r, errors.New("nothing was sent")
	}
	r.cpu = float64((last.cpu - first.cpu).Microseconds()) / float64(sent)
	return r, nil
}

// sealed are publishers without a session, whose keys the server knows.
type sealed struct {
	sent atomic.Uint64 // packets
	quit []func()
	wg   sync.WaitGroup
}

// add has publisher i send the benchmark's stream to an address.
func (s *sealed) add(i int, to string) error {
	key := make([]byte, 16)
	key[0] = byte(i)
	seals, err := srtp.CreateContext(key, make([]byte, 12), srtp.ProtectionProfileAeadAes128Gcm)
	if err != nil {
		return err
	}
	conn, err := net.Dial("udp4", to)
	if err != nil {
		return err
	}
	p := &publisher{quit: make(chan struct{})}
	s.quit = append(s.quit, func() {
		close(p.quit)
		_ = conn.Close()
	})
	var mu sync.Mutex // of seals, which both streams share
	send := func(ssrc uint32, seq uint16, bytes int) {
		mu.Lock()
		defer mu.Unlock()
		plain := make([]byte, bytes, bytes+16)
		plain[0] = 0x80
		binary.BigEndian.PutUint16(plain[2:], seq)
		binary.BigEndian.PutUint32(plain[8:], ssrc)
		packet, err := seals.EncryptRTP(nil, plain, &rtp.Header{})
		if err != nil {
			panic(fmt.Sprintf("sealing a packet of %d bytes: %v", bytes, err)) // it has what it needs
		}
		if _, err := conn.Write(packet); err == nil { // it fails while the benchmark ends
			s.sent.Add(1)
		}
	}
	const header = 12
	s.wg.Go(func() {
		p.run(time.Second/fps, func(n int) {
			for k := range perFrame {
				send(2*uint32(i), uint16(n*perFrame+k), header+videoBytes)
			}
		})
	})
	s.wg.Go(func() {
		p.run(soundEvery, func(n int) { send(2*uint32(i)+1, uint16(n), header+soundBytes) })
	})
	return nil
}

func (s *sealed) stop() {
	for _, quit := range s.quit {
		quit()
	}
	s.wg.Wait()
}
