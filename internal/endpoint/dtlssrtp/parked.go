package dtlssrtp

import (
	"crypto/tls"
	"net"
	"unique"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
)

// A Parked is a connection that was set aside: as much as it takes to resume it. That is a
// fifth of a [dtls.State].
type Parked struct {
	types unique.Handle[string] // the definitions of the types in state: the same for all
	state string                // encoded by package gob
}

// Park sets a connection aside, which must send nothing from now on. It is false for one that
// is closing, or that cannot be encoded.
func Park(conn *dtls.Conn) (p Parked, ok bool) {
	state, ok := conn.ConnectionState()
	if !ok {
		return p, false
	}
	state.PeerCertificates = nil // they were verified
	encoded, err := state.MarshalBinary()
	if err != nil {
		return p, false
	}
	at := lastMessage(encoded)
	return Parked{types: unique.Make(string(encoded[:at])), state: string(encoded[at:])}, true
}

// Resume makes the connection again. It reads from pipe when Resume returns.
func (p Parked) Resume(pipe net.PacketConn, cert tls.Certificate, log logging.LoggerFactory) (*dtls.Conn, error) {
	var state dtls.State
	if err := state.UnmarshalBinary([]byte(p.types.Value() + p.state)); err != nil {
		return nil, err
	}
	conn, err := dtls.ResumeWithOptions(&state, pipe, nowhere,
		dtls.WithCertificates(cert), dtls.WithInsecureSkipVerify(true), dtls.WithLoggerFactory(log))
	if err != nil {
		return nil, err
	}
	return conn, conn.Handshake() // there is none
}

// lastMessage returns where the last message of a gob stream begins, which is the value. Those
// ahead of it define its types. Each begins with its length.
func lastMessage(stream []byte) (at int) {
	for next := 0; next < len(stream); {
		at = next
		length, rest := gobUint(stream[at:])
		next = len(stream) - len(rest) + length
	}
	return at
}

// gobUint reads an unsigned integer as package gob writes it: up to 127 as one byte, and
// otherwise as the negated count of its bytes, and these, the most significant first.
func gobUint(b []byte) (n int, rest []byte) {
	if b[0] < 1<<7 {
		return int(b[0]), b[1:]
	}
	end := min(1-int(int8(b[0])), len(b))
	for _, one := range b[1:end] {
		n = n<<8 | int(one)
	}
	return n, b[end:]
}
