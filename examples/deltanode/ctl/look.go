package ctl

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/deltacdn/delta/cdn/admin"
)

// table writes rows under headings.
func (c *command) table(heads string, rows func(row func(cells ...any))) {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(heads, " ", "\t"))
	rows(func(cells ...any) {
		texts := make([]string, len(cells))
		for i, cell := range cells {
			texts[i] = text(cell)
		}
		fmt.Fprintln(w, strings.Join(texts, "\t"))
	})
	_ = w.Flush()
}

// text is a cell. What others have named must not reach into the next one, nor command
// the terminal.
func text(cell any) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, fmt.Sprint(cell))
	if s == "" {
		return "-"
	}
	return s
}

func bits(n int64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1fMbit/s", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.0fkbit/s", float64(n)/1e3)
	}
	return fmt.Sprintf("%dbit/s", n)
}

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return time.Since(t).Round(time.Second).String()
}

func until(t *time.Time) string {
	if t == nil {
		return "for ever"
	}
	return t.UTC().Format(time.RFC3339)
}

func (c *command) nodes(ctx context.Context) error {
	l, err := c.client.Nodes(ctx)
	if err != nil {
		return err
	}
	return c.show(l, func() {
		c.table("NODE STATE ROLES UP LOAD PUBLISHERS VIEWERS STREAMS LINKS IN OUT URL", func(row func(...any)) {
			for _, n := range l.Nodes {
				state := string(n.State)
				if n.Node.Draining {
					state += ",leaving"
				}
				row(n.Node.ID, state, strings.Join(n.Node.Roles, ","), since(n.Node.Started), fmt.Sprintf("%.0f%%", n.Node.Load*100),
					n.Sessions.Publishers, n.Sessions.Viewers, n.Streams, n.Links, bits(n.Totals.BitrateIn), bits(n.Totals.BitrateOut), n.Node.URL)
			}
		})
	})
}

func (c *command) links(ctx context.Context) error {
	l, err := c.client.Links(ctx)
	if err != nil {
		return err
	}
	return c.show(l, func() {
		c.table("NODE PEER UP RTT LOSS IN OUT FETCHED SERVED", func(row func(...any)) {
			for _, k := range l.Links {
				row(k.Node, k.Peer, since(k.Up), fmt.Sprintf("%.1fms", k.RTTMs), fmt.Sprintf("%.1f%%", k.Loss*100),
					bits(k.BitrateIn), bits(k.BitrateOut), strings.Join(k.Fetched, ","), strings.Join(k.Served, ","))
			}
		})
	})
}

func (c *command) streams(ctx context.Context) error {
	q := admin.StreamQuery{Node: c.query.Node, Stream: c.query.Stream, Limit: page}
	if len(c.args) > 0 {
		q.Stream = c.args[0]
	}
	all := admin.StreamPage{}
	for {
		p, err := c.client.Streams(ctx, q)
		if err != nil {
			return err
		}
		all.Streams = append(all.Streams, p.Streams...)
		if q.After = p.Next; q.After == "" {
			break
		}
	}
	return c.show(all, func() {
		c.table("STREAM STATE ORIGIN VIEWERS BITRATE NODES", func(row func(...any)) {
			for _, s := range all.Streams {
				var at []string
				for _, n := range s.Nodes {
					at = append(at, n.Node)
				}
				row(s.ID, streamState(s), strings.Join(s.Origins, ","), s.Viewers, bits(s.Bitrate), strings.Join(at, ","))
			}
		})
	})
}

func streamState(s admin.StreamSummary) string {
	switch {
	case s.Blocked:
		return "blocked"
	case s.Live:
		return "live"
	}
	return "waiting"
}

// page is how many are asked for at a time.
const page = 1000

func (c *command) sessions(ctx context.Context) error {
	q := c.query
	q.Limit = page
	all := admin.SessionPage{}
	for {
		p, err := c.client.Sessions(ctx, q)
		if err != nil {
			return err
		}
		all.Sessions = append(all.Sessions, p.Sessions...)
		all.Silent = append(all.Silent, p.Silent...)
		if q.After = p.Next; q.After == "" {
			break
		}
	}
	return c.show(all, func() {
		c.table("SESSION STREAM ACTION FOR SUBJECT TAG GRANT ADDRESS", func(row func(...any)) {
			for _, s := range all.Sessions {
				row(s.ID, s.Stream, s.Action, since(s.Begun), s.Subject+s.Peer, s.Tag, s.Grant, s.RemoteAddress)
			}
		})
		for _, n := range all.Silent {
			fmt.Fprintf(c.out, "%s does not answer, so its sessions are missing\n", text(n))
		}
	})
}

func (c *command) blocks(ctx context.Context) error {
	l, err := c.client.Blocks(ctx)
	if err != nil {
		return err
	}
	return c.show(l, func() {
		c.table("KIND WHAT UNTIL REASON", func(row func(...any)) {
			for _, b := range l.Blocks {
				row("block", b.Stream, until(b.Until), b.Reason)
			}
			for _, r := range l.Revocations {
				row("revoke", r.Grant, until(r.Until), r.Reason)
			}
		})
	})
}
