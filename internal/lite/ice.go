package lite

import (
	"errors"
	"net/netip"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// credentials are one ICE session's, ours (RFC 8445 section 5.3).
type credentials struct{ ufrag, pwd string }

var (
	errNotForUs = errors.New("lite: no check of ours")
	errIgnored  = errors.New("lite: nothing to answer")
)

// check is a STUN binding request that has proved that its sender knows our
// password.
type check struct {
	message   stun.Message
	integrity stun.MessageIntegrity
	nominates bool // USE-CANDIDATE
	conflict  bool // its sender thinks that it is the controlled side
}

// readCheck reads and authenticates a connectivity check (RFC 8445 section 7.3,
// RFC 8489 section 9.1.3). What fails is not answered: it may have a forged
// source.
func readCheck(packet []byte, known func(ufrag string) (pwd string, ok bool)) (*check, error) {
	c := &check{}
	c.message.Raw = append([]byte(nil), packet...)
	if err := c.message.Decode(); err != nil {
		return nil, err
	}
	if c.message.Type != stun.BindingRequest {
		return nil, errIgnored // indications keep a mapping open, and want no answer
	}
	var name stun.Username
	if err := name.GetFrom(&c.message); err != nil {
		return nil, err
	}
	pwd, ok := known(ours(name.String()))
	if !ok {
		return nil, errNotForUs
	}
	c.integrity = stun.NewShortTermIntegrity(pwd)
	if err := c.integrity.Check(&c.message); err != nil {
		return nil, err
	}
	c.nominates = c.message.Contains(stun.AttrUseCandidate)
	c.conflict = c.message.Contains(stun.AttrICEControlled)
	return c, nil
}

// triggered returns a check of ours for the way that a check came (RFC 8445
// section 7.3.1.4). A lite agent need not make any, but its answer proves the
// address, and there are controlling agents that nominate a pair once they have
// heard from both sides, and otherwise at their next turn, 200 ms later.
func triggered(id stunID, own credentials, ufrag, pwd string) ([]byte, error) {
	const peerReflexive, component = 110, 256 - 1 // RFC 8445 section 5.1.2
	m, err := stun.Build(stun.BindingRequest, stun.NewTransactionIDSetter(id),
		stun.NewUsername(ufrag+":"+own.ufrag), ice.AttrControlled(0),
		ice.PriorityAttr(peerReflexive<<24|65535<<8|component),
		stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
	if err != nil {
		return nil, err
	}
	return m.Raw, nil
}

// isAnswer reports whether a STUN message is a success response.
func isAnswer(packet []byte) bool {
	return len(packet) > 1 && packet[0] == 0x01 && packet[1] == 0x01
}

// readAnswer reads and authenticates the answer to a check of ours.
func readAnswer(packet []byte, pwd string) (id stunID, ok bool) {
	m := stun.Message{Raw: append([]byte(nil), packet...)}
	if m.Decode() != nil || m.Type != stun.BindingSuccess {
		return id, false
	}
	return m.TransactionID, stun.NewShortTermIntegrity(pwd).Check(&m) == nil
}

func ours(username string) string {
	for i := range len(username) {
		if username[i] == ':' {
			return username[:i]
		}
	}
	return username
}

// respond returns the answer to a check: where it came from, or that a lite
// agent is always the controlled one (RFC 8445 section 7.3.1.1).
func (c *check) respond(from netip.AddrPort) ([]byte, error) {
	m := &stun.Message{}
	var err error
	if c.conflict {
		err = m.Build(stun.NewTransactionIDSetter(c.message.TransactionID), stun.BindingError, stun.CodeRoleConflict, c.integrity, stun.Fingerprint)
	} else {
		mapped := &stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())}
		err = m.Build(stun.NewTransactionIDSetter(c.message.TransactionID), stun.BindingSuccess, mapped, c.integrity, stun.Fingerprint)
	}
	return m.Raw, err
}
