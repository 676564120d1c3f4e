package dtlssrtp

import (
	"encoding/binary"
	"errors"

	"github.com/pion/srtp/v3"
)

const (
	rtcpHeader = 8       // RFC 3550 section 6.4: the first packet's, with the SSRC of who speaks
	rtcpIndex  = 4       // and the bit that says that it is encrypted
	encrypted  = 1 << 31 // of that word
)

// ErrNotAuthentic says that an SRTCP packet is not the other side's, or came before.
var ErrNotAuthentic = errors.New("dtlssrtp: SRTCP that is not authentic, or was there before")

var errWornOut = errors.New("dtlssrtp: all SRTCP indices are used")

// A control seals or opens SRTCP by AES-GCM (RFC 7714 section 9).
type control struct {
	gcm gcm
	aad [rtcpHeader + rtcpIndex]byte // of the packet; a variable would be allocated
}

func (c *control) init(key, salt []byte) error {
	return c.gcm.init(key, salt, labelControlEncryption, labelControlSalt)
}

// authenticated returns what goes unencrypted: a packet's header, and its index.
func (c *control) authenticated(packet []byte, index uint32) []byte {
	copy(c.aad[:], packet[:rtcpHeader])
	binary.BigEndian.PutUint32(c.aad[rtcpHeader:], encrypted|index)
	return c.aad[:]
}

func (c *control) seal(plain []byte, index uint32) []byte {
	out := make([]byte, rtcpHeader, len(plain)+c.gcm.overhead()+rtcpIndex)
	copy(out, plain)
	aad := c.authenticated(plain, index)
	c.gcm.iv(binary.BigEndian.Uint32(plain[4:]), uint64(index))
	out = c.gcm.aead.Seal(out, c.gcm.nonce[:], plain[rtcpHeader:], aad)
	return append(out, aad[rtcpHeader:]...)
}

// open writes over the packet, of which it returns what is left.
func (c *control) open(packet []byte, index uint32) ([]byte, error) {
	if len(packet) < rtcpHeader+c.gcm.overhead()+rtcpIndex {
		return nil, ErrNotAuthentic
	}
	sealed := packet[rtcpHeader : len(packet)-rtcpIndex]
	c.gcm.iv(binary.BigEndian.Uint32(packet[4:]), uint64(index))
	plain, err := c.gcm.aead.Open(sealed[:0], c.gcm.nonce[:], sealed, c.authenticated(packet, index))
	return packet[:rtcpHeader+len(plain)], err
}

// An Opener opens the other side's SRTCP. One goroutine at a time uses it.
type Opener struct {
	control control
	windows []window      // few: a search costs less than a map
	few     [1]window     // the first of them, where it is at hand
	most    int           // of windows
	opened  uint64        // packets
	slow    *srtp.Context // in place of control, for profiles without GCM
}

// Opener returns a new one, which accepts so many SSRCs: it keeps something of each.
func (k Keys) Opener(sources int) (*Opener, error) {
	return NewOpener(k.profile, k.keys.RemoteMasterKey, k.keys.RemoteMasterSalt, sources)
}

// NewOpener returns an Opener with the keys given.
func NewOpener(profile srtp.ProtectionProfile, key, salt []byte, sources int) (o *Opener, err error) {
	o = &Opener{most: sources}
	o.windows = o.few[:0]
	if profile == srtp.ProtectionProfileAes128CmHmacSha1_80 {
		o.slow, err = srtp.CreateContext(key, salt, profile)
	} else {
		err = o.control.init(key, salt)
	}
	return o, err
}

// Open returns the RTCP in an SRTCP packet, which it writes over. The error is
// [ErrNotAuthentic]. Packets that are not encrypted, as browsers' all are (RFC 8827
// section 6.5), are not accepted.
func (o *Opener) Open(packet []byte) (compound []byte, err error) {
	word, ok := o.word(packet)
	if !ok || word&encrypted == 0 {
		return nil, ErrNotAuthentic
	}
	ssrc, index := binary.BigEndian.Uint32(packet[4:]), word&^encrypted
	w := o.window(ssrc)
	full := w == nil && len(o.windows) == o.most
	if full && o.slow != nil || w != nil && !w.takes(index) {
		return nil, ErrNotAuthentic // slow keeps something of each for ever
	}
	if o.slow != nil {
		compound, err = o.slow.DecryptRTCP(packet, packet, nil)
	} else {
		compound, err = o.control.open(packet, index)
	}
	if err != nil {
		return nil, ErrNotAuthentic
	}
	if full { // the one heard least recently makes room
		i := 0
		for k := range o.windows {
			if o.windows[k].heard < o.windows[i].heard {
				i = k
			}
		}
		o.windows = append(o.windows[:i], o.windows[i+1:]...)
	}
	if w == nil {
		o.windows = append(o.windows, window{ssrc: ssrc})
		w = &o.windows[len(o.windows)-1]
	}
	o.opened++
	w.heard = o.opened
	w.take(index)
	return compound, nil
}

// word returns the one with a packet's index; false: the packet is too short.
func (o *Opener) word(packet []byte) (word uint32, ok bool) {
	end, least := len(packet), rtcpHeader+rtcpIndex
	if o.slow != nil {
		end, least = end-tagSize, least+tagSize
	}
	if len(packet) < least {
		return 0, false
	}
	return binary.BigEndian.Uint32(packet[end-rtcpIndex:]), true
}

// window returns that of an SSRC, good until the next is added; nil: it has none.
func (o *Opener) window(ssrc uint32) *window {
	for i := range o.windows {
		if o.windows[i].ssrc == ssrc {
			return &o.windows[i]
		}
	}
	return nil
}

// A window is which of an SSRC's packets have come, so that none is accepted twice
// (RFC 3711 section 3.3.2).
type window struct {
	ssrc  uint32
	heard uint64 // when, in packets
	begun bool
	last  uint32 // the highest index
	come  uint64 // a bit for each of the windowSize indices that end with it, the last one's first
}

const windowSize = 64

// takes reports whether a packet is new.
func (w *window) takes(index uint32) bool {
	behind := w.last - index
	return !w.begun || index > w.last || behind < windowSize && w.come>>behind&1 == 0
}

// take notes that a packet has come, which was new.
func (w *window) take(index uint32) {
	switch ahead := index - w.last; {
	case !w.begun:
		w.begun, w.last, w.come = true, index, 1
	case index > w.last:
		w.last, w.come = index, w.come<<ahead|1 // of a shift that is too long nothing is left
	default:
		w.come |= 1 << (w.last - index)
	}
}
