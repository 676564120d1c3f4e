package hookauth

import (
	"errors"
	"fmt"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/internal/strictjson"
)

const (
	maxAnswer = 64 << 10 // bytes
	maxText   = 256      // bytes of a member
)

// An Answer is the body of the hook's response, in JSON. Members that are not here are
// ignored; one of a wrong type, or there twice, makes the answer none.
type Answer struct {
	Allow bool // must be there
	// Of a refusal:
	Reason string // "unauthorized" (another token is needed) or "forbidden", which is the default
	Detail string // a sentence for the client, which strangers see

	// Of a grant, as in [cdn.Grant]:
	Subject    string
	ID         string
	Tag        string
	Expires    time.Time // in seconds since 1970
	MaxBitrate int       // bits a second

	// TTL is for how long the answer may be kept, from "ttl" in seconds. Zero: as long as
	// the configuration says for a refusal, and not at all for a grant.
	TTL time.Duration
}

// ParseAnswer reads an answer. It never lets in more than the text says: what it does
// not understand is an error.
func ParseAnswer(data []byte) (Answer, error) {
	m, err := strictjson.Object(data)
	if err != nil {
		return Answer{}, err
	}
	var a Answer
	allow, ok := m["allow"]
	switch {
	case !ok:
		return a, errors.New(`there is no "allow"`)
	case string(allow) != "true" && string(allow) != "false":
		return a, errors.New(`"allow" is neither true nor false`)
	}
	a.Allow = string(allow) == "true"
	var ttl float64
	err = errors.Join(
		m.Text("reason", maxText, &a.Reason),
		m.Text("detail", maxText, &a.Detail),
		m.Text("subject", maxText, &a.Subject),
		m.Text("id", maxText, &a.ID),
		m.Text("tag", maxText, &a.Tag),
		m.Time("expires", &a.Expires),
		m.Whole("max_bitrate", 1, 1e12, &a.MaxBitrate),
		m.Number("ttl", 0, 1e9, &ttl),
	)
	if err != nil {
		return Answer{}, err
	}
	a.TTL = time.Duration(ttl * float64(time.Second))
	switch a.Reason {
	case "", "unauthorized", "forbidden":
	default:
		return Answer{}, fmt.Errorf("the reason is %.40q", a.Reason)
	}
	return a, nil
}

// refusal returns the error that an answer is, nil for a grant.
func (a Answer) refusal() error {
	switch {
	case a.Allow:
		return nil
	case a.Reason == "unauthorized":
		return fmt.Errorf("the hook refuses: %w", cdn.ErrUnauthorized)
	}
	return fmt.Errorf("the hook refuses: %w", cdn.ErrForbidden)
}
