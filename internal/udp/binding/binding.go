// Package binding reads and writes plain STUN Binding requests (RFC 8489 section 3),
// which ask for the address that they come from and need no credentials. Nodes measure
// the round trip to each other by them.
package binding

import (
	"net/netip"

	"github.com/pion/stun/v4"
)

// An ID is a STUN transaction's.
type ID = [stun.TransactionIDSize]byte

// NewID returns a random one.
func NewID() ID { return stun.NewTransactionID() }

// padding makes a request at least as long as its answer, so that nobody is sent more
// than whoever forged its address has sent.
const padding = "delta round trip probe.."

// Request returns a request.
func Request(id ID) ([]byte, error) {
	m, err := stun.Build(stun.BindingRequest, stun.NewTransactionIDSetter(id), stun.NewSoftware(padding))
	if err != nil {
		return nil, err
	}
	return m.Raw, nil
}

// Is reports whether a STUN message may be a Binding request.
func Is(packet []byte) bool {
	return len(packet) >= 20 && packet[0] == 0 && packet[1] == 1
}

// Answer returns the answer to a request from an address. It is false for anything
// else, for a connectivity check, and for a request that is shorter than its answer.
func Answer(packet []byte, from netip.AddrPort) (answer []byte, ok bool) {
	m := stun.Message{Raw: append([]byte(nil), packet...)}
	if m.Decode() != nil || m.Type != stun.BindingRequest || m.Contains(stun.AttrUsername) {
		return nil, false
	}
	out, err := stun.Build(stun.BindingSuccess, stun.NewTransactionIDSetter(m.TransactionID), &stun.XORMappedAddress{
		IP: from.Addr().Unmap().AsSlice(), Port: int(from.Port()),
	})
	if err != nil || len(out.Raw) > len(packet) {
		return nil, false
	}
	return out.Raw, true
}

// AnsweredID returns the transaction id of a success response.
func AnsweredID(packet []byte) (id ID, ok bool) {
	if len(packet) < 20 || packet[0] != 1 || packet[1] != 1 {
		return id, false
	}
	copy(id[:], packet[8:])
	return id, true
}
