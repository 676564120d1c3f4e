package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn/admin"
)

var errPartial = errors.New("not all nodes have made the change")

// outcome shows what a change did, and fails if a node has not made it.
func (c *command) outcome(o admin.Outcome, err error) error { return c.outcomeUntil(o, err, "") }

// outcomeUntil is outcome of what lasts, until when a sentence says.
func (c *command) outcomeUntil(o admin.Outcome, err error, lasts string) error {
	if err != nil {
		return err
	}
	err = c.show(o, func() {
		c.table("NODE DONE ENDED PROBLEM", func(row func(...any)) {
			for _, r := range o.Results {
				row(r.Node, r.OK, r.Ended, r.Problem)
			}
		})
		if lasts != "" {
			fmt.Fprintln(c.out, lasts)
		}
	})
	for _, r := range o.Results {
		if !r.OK {
			err = errPartial
		}
	}
	return err
}

// end is when what lasts for -for is over; nil: never.
func (c *command) end() *time.Time {
	if c.howLong <= 0 {
		return nil
	}
	t := time.Now().Add(c.howLong)
	return &t
}

// revokedFor is for how long a grant is revoked without -for.
const revokedFor = 24 * time.Hour

func lastsUntil(end time.Time) string { return "It lasts until " + end.Format(time.RFC3339) + "." }

func (c *command) kick(ctx context.Context) error {
	return c.outcome(c.client.Kick(ctx, c.args[0], c.reason))
}

func (c *command) block(ctx context.Context) error {
	end, lasts := c.end(), "It lasts until it is taken back."
	if end != nil {
		lasts = lastsUntil(*end)
	}
	o, err := c.client.Block(ctx, c.args[0], admin.Block{Reason: c.reason, Until: end})
	return c.outcomeUntil(o, err, lasts)
}

func (c *command) unblock(ctx context.Context) error {
	return c.outcome(c.client.Unblock(ctx, c.args[0]))
}

func (c *command) revoke(ctx context.Context) error {
	if c.howLong <= 0 {
		c.howLong = revokedFor
	}
	end := c.end()
	o, err := c.client.Revoke(ctx, c.args[0], admin.Revocation{Reason: c.reason, Until: end})
	return c.outcomeUntil(o, err, lastsUntil(*end))
}

func (c *command) drain(ctx context.Context) error {
	return c.outcome(c.client.Drain(ctx, c.args[0], admin.Drain{TimeoutSeconds: c.howLong.Seconds()}))
}

func (c *command) undrain(ctx context.Context) error {
	return c.outcome(c.client.Undrain(ctx, c.args[0]))
}

// limits shows the limits of a node, after it has changed those that are given.
func (c *command) limits(ctx context.Context) error {
	node, changes := c.args[0], c.args[1:]
	var l admin.Limits
	var err error
	if len(changes) == 0 {
		l, err = c.client.Limits(ctx, node)
	} else {
		var change admin.LimitsChange
		if change, err = parseLimits(changes); err != nil {
			return err
		}
		l, err = c.client.SetLimits(ctx, node, change)
	}
	if err != nil {
		return err
	}
	return c.show(l, func() {
		c.table("LIMIT VALUE", func(row func(...any)) {
			text, err := json.Marshal(l)
			if err != nil {
				return
			}
			d := json.NewDecoder(bytes.NewReader(text))
			_, _ = d.Token() // the brace
			for d.More() {
				key, _ := d.Token()
				value, _ := d.Token()
				row(key, value)
			}
		})
	})
}

// parseLimits reads KEY=VALUE.
func parseLimits(changes []string) (l admin.LimitsChange, err error) {
	values := map[string]int{}
	for _, text := range changes {
		key, number, _ := strings.Cut(text, "=")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 {
			return l, fmt.Errorf("%w: %q is no change of a limit, such as sessions=1000", errUsage, text)
		}
		values[strings.TrimPrefix(key, "limits.")] = n
	}
	text, err := json.Marshal(values)
	if err != nil {
		return l, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return l, fmt.Errorf("%w: there is no such limit; docs/limits.md has their names (%w)", errUsage, err)
	}
	return l, nil
}
