package natsdir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/replica"
)

// The subjects, behind the prefix. A message consists of lines of JSON, and its reply
// subject is the inbox of the Directory that it is from.
const (
	announceSubject = "announce" // to all: announcements
	askSubject      = "ask"      // to all: an [ask]
	inboxSubject    = "to."      // and a Directory's id: an [ask], or an [answer] and announcements
)

// A control is a line that is no announcement.
type control struct {
	Version int     `json:"v"`
	Ask     *ask    `json:"ask,omitempty"`
	Answer  *answer `json:"answer,omitempty"`
}

// An ask asks Directories for what they have announced themselves.
type ask struct {
	From string `json:"from"`
	// New: From has announced nothing yet.
	New bool `json:"new,omitempty"`
	// Have are those that have answered already. They do not answer again.
	Have []string `json:"have,omitempty"`
}

// An answer is the head of one of several messages with what From has announced.
type answer struct {
	From string `json:"from"`
	Part int    `json:"part"` // from 1
	Of   int    `json:"of"`
}

// maxHave bounds [ask].Have.
const maxHave = 4096

func (c control) encode() []byte {
	c.Version = replica.Version
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // it consists of texts and numbers
	}
	return b
}

func decodeControl(line []byte) (control, error) {
	var c control
	if err := json.Unmarshal(line, &c); err != nil {
		return control{}, fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
	}
	switch {
	case c.Version != replica.Version:
		return control{}, fmt.Errorf("%w: version %d", cdn.ErrUnsupported, c.Version)
	case (c.Ask == nil) == (c.Answer == nil):
		return control{}, fmt.Errorf("%w: neither a question nor an answer, or both", cdn.ErrInvalid)
	case c.Ask != nil && (!isToken(c.Ask.From) || len(c.Ask.Have) > maxHave):
		return control{}, fmt.Errorf("%w: question from %.80q, with %d names", cdn.ErrInvalid, c.Ask.From, len(c.Ask.Have))
	case c.Answer != nil && (!isToken(c.Answer.From) || c.Answer.Part < 1 || c.Answer.Part > c.Answer.Of):
		return control{}, fmt.Errorf("%w: answer %d of %d from %.80q", cdn.ErrInvalid, c.Answer.Part, c.Answer.Of, c.Answer.From)
	}
	return c, nil
}

func (d *Directory) subject(name string) string { return d.config.Prefix + "." + name }

func (d *Directory) inboxOf(id string) string { return d.subject(inboxSubject + id) }

// sender returns whom a message with this reply subject is from, "": not known.
func (d *Directory) sender(reply string) string {
	id, ok := strings.CutPrefix(reply, d.inboxOf(""))
	if !ok || !isToken(id) {
		return ""
	}
	return id
}

// mostBytes is how long a message may be.
func (d *Directory) mostBytes() int {
	const most = 64 << 10
	if server := d.nc.MaxPayload(); server > 0 {
		return min(most, int(server))
	}
	return most
}

func join(lines [][]byte) []byte { return bytes.Join(lines, []byte{'\n'}) }

// parts divides lines into messages of up to most bytes.
func parts(lines [][]byte, most int) [][][]byte {
	var all [][][]byte
	size := 0
	for _, line := range lines {
		if len(all) == 0 || size+len(line)+1 > most {
			all = append(all, nil)
			size = 0
		}
		all[len(all)-1] = append(all[len(all)-1], line)
		size += len(line) + 1
	}
	return all
}
