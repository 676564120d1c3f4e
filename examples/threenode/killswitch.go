package main

import (
	"errors"
	"fmt"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/demo/web"
)

// kill makes a node vanish without a goodbye, as a crash does.
func (c *cluster) kill(name string) error {
	c.mu.Lock()
	p := c.slot(name)
	var n *node
	if p != nil {
		n = p.node
		p.node = nil
	}
	c.mu.Unlock()
	if n == nil {
		return fmt.Errorf("%w: no such node is running", cdn.ErrNotFound)
	}
	n.cut()
	c.closing.Go(n.close) // gives back what it had; the other nodes hear nothing of it
	return nil
}

// restore starts a killed node anew, with the same name and addresses.
func (c *cluster) restore(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.slot(name)
	switch {
	case c.closed:
		return cdn.ErrClosed
	case p == nil || p.node != nil:
		return fmt.Errorf("%w: no such node was killed", cdn.ErrNotFound)
	}
	return c.startLocked(p)
}

func (c *cluster) slot(name string) *slot {
	for _, p := range c.slots {
		if p.name == name {
			return p
		}
	}
	return nil
}

// A killSwitch kills and restores nodes for the pages of one node.
type killSwitch struct {
	cluster *cluster
	name    string
}

var errOwnPage = errors.New("this page comes from that node; kill it from another node's page")

func (s killSwitch) Kill(name string) error {
	if name == s.name {
		return errOwnPage
	}
	return s.cluster.kill(name)
}

func (s killSwitch) Restore(name string) error { return s.cluster.restore(name) }

// peers returns all nodes except the one of that name.
func (c *cluster) peers(name string) (all []web.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.slots {
		if p.name != name {
			all = append(all, web.Peer{Name: p.name, Role: p.role, URL: p.url, Killed: p.node == nil})
		}
	}
	return all
}
