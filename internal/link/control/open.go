package control

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Nothing is acted on before the other side's hello, which says how it is to be
// understood. So what comes before it waits for it, and it goes with all that is
// said until it has arrived.

// message acts on a message, once the hello has come.
func (c *Conn) message(b []byte) error {
	m, body, err := parse(b)
	switch {
	case err != nil || c.closed:
		return err
	case m.kind == kindHello:
		return c.hello(body)
	case !c.opened:
		if !c.hold(len(b)) {
			return errMessage
		}
		c.early = append(c.early, append([]byte(nil), b...))
		return nil
	}
	return c.subscription(m, body)
}

// hold reports whether n more bytes may wait for what they need.
func (c *Conn) hold(n int) bool {
	if c.held+n > maxHeld {
		return false
	}
	c.held += n
	return true
}

func (c *Conn) hello(body []byte) error {
	var h Hello
	if json.Unmarshal(body, &h) != nil {
		return errMessage
	}
	if c.opened {
		return nil
	}
	us := c.config.Hello
	version := min(h.Max, us.Max)
	if version < max(h.Min, us.Min) {
		// As the other side would say it.
		r := Reason{Code: unsupported, Text: ranges(h, us)}
		c.leave(r, Closed{Err: fmt.Errorf("%w: %s", ErrVersion, ranges(us, h))})
		return nil
	}
	c.opened, c.callable = true, slices.Contains(h.Features, FeatureCalls)
	if c.probe.told == 0 {
		c.probe.theirs = share(h.Load)
	}
	c.events = append(c.events, Opened{Hello: h, Version: version})
	early := c.early
	c.early = nil
	var bad error
	for _, b := range early {
		c.held -= len(b)
		if err := c.message(b); err != nil && bad == nil {
			bad = err
		}
	}
	return bad
}

func ranges(here, there Hello) string {
	return fmt.Sprintf("%d to %d here, %d to %d there", here.Min, here.Max, there.Min, there.Max)
}

// goodbye takes the other side's. Before its hello has come it is about versions:
// nothing else can be unsupported yet.
func (c *Conn) goodbye(body []byte) {
	var r Reason
	_ = json.Unmarshal(body, &r) // without a reason it is a goodbye all the same
	e := Closed{Reason: r}
	if !c.opened && r.Code == unsupported {
		e.Err = fmt.Errorf("%w: %s", ErrVersion, r.Text)
	}
	c.end(e)
}
