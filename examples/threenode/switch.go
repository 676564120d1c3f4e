package main

import (
	"errors"
	"fmt"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/examples/threenode/web"
)

// kill has a node vanish without a word, as a crash does.
func (c *cluster) kill(name string) error {
	c.mu.Lock()
	p := c.place(name)
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
	c.closing.Go(n.close) // gives back what it had; the others hear nothing of it
	return nil
}

// restore starts a killed node anew, under its name and its addresses.
func (c *cluster) restore(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.place(name)
	switch {
	case c.closed:
		return cdn.ErrClosed
	case p == nil || p.node != nil:
		return fmt.Errorf("%w: no such node was killed", cdn.ErrNotFound)
	}
	return c.startLocked(p)
}

func (c *cluster) place(name string) *place {
	for _, p := range c.places {
		if p.name == name {
			return p
		}
	}
	return nil
}

// switches are those on the pages of one node.
type switches struct {
	cluster *cluster
	name    string
}

var errOwnPage = errors.New("this page comes from that node; kill it from another node's page")

func (s switches) Kill(name string) error {
	if name == s.name {
		return errOwnPage
	}
	return s.cluster.kill(name)
}

func (s switches) Restore(name string) error { return s.cluster.restore(name) }

// peers returns all other nodes than the one of that name.
func (c *cluster) peers(name string) (all []web.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.places {
		if p.name != name {
			all = append(all, web.Peer{Name: p.name, Role: p.role, URL: p.url, Killed: p.node == nil})
		}
	}
	return all
}
