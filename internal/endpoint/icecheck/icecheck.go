// Package icecheck reads and writes the STUN messages of ICE connectivity checks
// (RFC 8445 section 7).
package icecheck

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// Credentials are one side's of an ICE session (RFC 8445 section 5.3).
type Credentials struct{ Ufrag, Pwd string }

// NewCredentials returns random ones, of 80 and 160 bits.
func NewCredentials() Credentials {
	return Credentials{Ufrag: rand.Text()[:16], Pwd: rand.Text() + rand.Text()[:6]}
}

// An ID is a STUN transaction's.
type ID = [stun.TransactionIDSize]byte

// NewID returns a random one.
func NewID() ID { return stun.NewTransactionID() }

var (
	errNotForUs = errors.New("icecheck: no check of ours")
	errIgnored  = errors.New("icecheck: nothing to answer")
)

// A Check is a STUN binding request that has proved that its sender knows our
// password.
type Check struct {
	message    stun.Message
	integrity  stun.MessageIntegrity
	Nominates  bool // USE-CANDIDATE
	Controlled bool // its sender thinks that it is the controlled side

	answer stun.Message
	ip     [16]byte
}

// A Reader reads checks one after the other, and uses its buffers again. The zero
// value is ready. It is not safe for concurrent use.
type Reader struct{ check Check }

// Read reads and authenticates a connectivity check (RFC 8445 section 7.3,
// RFC 8489 section 9.1.3). What fails is not answered: it may have a forged
// source. The check, and an answer to it, are good until the next one is read.
func (r *Reader) Read(packet []byte, known func(ufrag string) (pwd string, ok bool)) (*Check, error) {
	c := &r.check
	c.message.Raw = append(c.message.Raw[:0], packet...)
	if err := c.message.Decode(); err != nil {
		return nil, err
	}
	if c.message.Type != stun.BindingRequest {
		return nil, errIgnored // indications keep a mapping open, and want no answer
	}
	name, err := c.signed()
	if err != nil {
		return nil, err
	}
	pwd, ok := known(string(ours(name)))
	if !ok {
		return nil, errNotForUs
	}
	c.integrity = append(c.integrity[:0], pwd...)
	if err := c.integrity.Check(&c.message); err != nil {
		return nil, err
	}
	return c, nil
}

// signed reads the attributes ahead of MESSAGE-INTEGRITY, and returns the user name.
// Those behind it are nobody's word (RFC 8489 section 14.5).
func (c *Check) signed() (name []byte, err error) {
	c.Nominates, c.Controlled = false, false
	for _, a := range c.message.Attributes {
		switch a.Type {
		case stun.AttrMessageIntegrity:
			if name == nil {
				return nil, stun.ErrAttributeNotFound
			}
			return name, nil
		case stun.AttrUsername:
			name = a.Value
		case stun.AttrUseCandidate:
			c.Nominates = true
		case stun.AttrICEControlled:
			c.Controlled = true
		default: // says nothing that matters here
		}
	}
	return nil, stun.ErrAttributeNotFound
}

// Read is [Reader.Read] for those who read few.
func Read(packet []byte, known func(ufrag string) (pwd string, ok bool)) (*Check, error) {
	return new(Reader).Read(packet, known)
}

// A TieBreaker is the number by which agents settle a role conflict. An agent uses
// the same one in all checks of an ICE session (RFC 8445 section 7.1.3).
type TieBreaker uint64

// NewTieBreaker returns a random one. It is never 0, which libjuice takes for an
// attribute that is missing.
func NewTieBreaker() TieBreaker {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // it does not fail
		if t := binary.BigEndian.Uint64(b[:]); t != 0 {
			return TieBreaker(t)
		}
	}
}

// Triggered returns the check of a controlled agent to an address that a check
// came from (RFC 8445 section 7.3.1.4). A lite agent need not send any, but its
// answer proves the address, and some controlling agents nominate a pair as soon
// as both sides have checked it, and otherwise at their next turn, 200 ms later.
func Triggered(id ID, tie TieBreaker, ours, theirs Credentials) ([]byte, error) {
	const peerReflexive = 110 // RFC 8445 section 5.1.2.2
	return build(id, ours, theirs, peerReflexive, ice.AttrControlled(tie))
}

// Nominating returns the check of a controlling agent that nominates its pair
// (RFC 8445 section 8.1.1).
func Nominating(id ID, tie TieBreaker, ours, theirs Credentials) ([]byte, error) {
	const host = 126
	return build(id, ours, theirs, host, ice.AttrControlling(tie), ice.UseCandidate())
}

func build(id ID, ours, theirs Credentials, preference uint32, more ...stun.Setter) ([]byte, error) {
	const component = 256 - 1 // RFC 8445 section 5.1.2.1
	setters := append([]stun.Setter{
		stun.BindingRequest, stun.NewTransactionIDSetter(id), stun.NewUsername(theirs.Ufrag + ":" + ours.Ufrag),
		ice.PriorityAttr(preference<<24 | 65535<<8 | component),
	}, more...)
	m, err := stun.Build(append(setters, stun.NewShortTermIntegrity(theirs.Pwd), stun.Fingerprint)...)
	if err != nil {
		return nil, err
	}
	return m.Raw, nil
}

// IsAnswer reports whether a STUN message is a success response.
func IsAnswer(packet []byte) bool {
	return len(packet) > 1 && packet[0] == 0x01 && packet[1] == 0x01
}

// ReadAnswer reads and authenticates the answer to a check of ours.
func ReadAnswer(packet []byte, pwd string) (id ID, ok bool) {
	m := stun.Message{Raw: append([]byte(nil), packet...)}
	if m.Decode() != nil || m.Type != stun.BindingSuccess {
		return id, false
	}
	return m.TransactionID, stun.NewShortTermIntegrity(pwd).Check(&m) == nil
}

func ours(username []byte) []byte {
	name, _, _ := bytes.Cut(username, []byte{':'})
	return name
}

// Respond returns the answer of a lite agent to a check: where it came from, or
// that a lite agent is always the controlled one (RFC 8445 section 7.3.1.1).
func (c *Check) Respond(from netip.AddrPort) ([]byte, error) {
	if c.Controlled {
		return c.build(stun.BindingError, stun.CodeRoleConflict)
	}
	return c.Answer(from)
}

// Answer returns the answer that says where a check came from.
func (c *Check) Answer(from netip.AddrPort) ([]byte, error) {
	ip := c.ip[:4]
	if addr := from.Addr().Unmap(); addr.Is4() {
		*(*[4]byte)(ip) = addr.As4()
	} else {
		c.ip = addr.As16()
		ip = c.ip[:]
	}
	return c.build(stun.BindingSuccess, stun.XORMappedAddress{IP: ip, Port: int(from.Port())})
}

func (c *Check) build(kind stun.MessageType, what stun.Setter) ([]byte, error) {
	m := &c.answer
	m.Reset()
	m.Type, m.TransactionID = kind, c.message.TransactionID
	m.WriteHeader()
	if err := what.AddTo(m); err != nil {
		return nil, err
	}
	if err := c.integrity.AddTo(m); err != nil {
		return nil, err
	}
	err := stun.Fingerprint.AddTo(m)
	return m.Raw, err
}
