package control

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// The kinds of messages. Those that are not known are passed over, so that a
// later version may have more.
type kind byte

const (
	kindHello kind = iota + 1
	kindSubscribe
	kindWant
	kindUnsubscribe
	kindSubscribed
	kindEnd
	kindLeaving
	kindCall
	kindReply
	kindCancel
)

func (k kind) String() string {
	names := [...]string{"?", "hello", "subscribe", "want", "unsubscribe", "subscribed", "end", "leaving", "call", "reply", "cancel"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprint(byte(k))
}

// A message is about one subscription; its revision says which of several of a
// kind is the newest. The body is JSON: fields that are not known are passed over,
// and a person can read a trace. Only messages about calls have a body of bytes
// (call.go), and count them by their revision.
type message struct {
	kind     kind
	id       uint64
	revision uint64
	body     any
}

// raw is a body that is no JSON.
type raw []byte

type want struct {
	Layers []string `json:"layers"`
}

// The words for what this package itself ends something for, as those of all
// nodes are (package reason).
const (
	overLimit   = "over limit"
	invalid     = "invalid"
	unsupported = "unsupported"
	lost        = "lost"
)

var (
	errMessage = errors.New("control: malformed message")
	errTooLong = fmt.Errorf("more than %d bytes", maxMessage)
)

// marshal fails for what is too long, or is not a number that JSON knows.
func (m message) marshal() ([]byte, error) {
	b := []byte{byte(m.kind)}
	b = binary.AppendUvarint(b, m.id)
	b = binary.AppendUvarint(b, m.revision)
	if m.body == nil {
		return b, nil
	}
	body, ok := m.body.(raw)
	if !ok {
		var err error
		if body, err = json.Marshal(m.body); err != nil {
			return nil, err
		}
	}
	if len(b)+len(body) > maxMessage {
		return nil, errTooLong
	}
	return append(b, body...), nil
}

// parse returns the message and its body, still as JSON.
func parse(b []byte) (m message, body []byte, err error) {
	if len(b) == 0 {
		return m, nil, errMessage
	}
	m.kind = kind(b[0])
	rest := b[1:]
	for _, v := range []*uint64{&m.id, &m.revision} {
		x, n := binary.Uvarint(rest)
		if n <= 0 {
			return m, nil, errMessage
		}
		*v, rest = x, rest[n:]
	}
	return m, rest, nil
}

// A leaving says whether a node is leaving. Its revision says which is the newest.
type leaving struct {
	Leaving bool `json:"leaving"`
}

// maxReason bounds a reason, which has to be told in one datagram.
const maxReason = 900

// short returns a reason that fits a datagram as JSON.
func (r Reason) short() Reason {
	if len(r.Code) > 64 {
		r.Code = r.Code[:64]
	}
	for {
		b, _ := json.Marshal(r) // two strings can be marshaled
		if len(b) <= maxReason {
			return r
		}
		if len(r.Instead) > 0 {
			r.Instead = r.Instead[:len(r.Instead)-1]
			continue
		}
		r.Text = r.Text[:min(len(r.Text)/2, maxReason)]
	}
}
