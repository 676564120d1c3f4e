package main

import (
	"context"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// siblings are the other nodes that viewers may be sent to, which pages have to be allowed
// to ask. The directory answers of what it knows already.
func (n *node) siblings() (urls []string) {
	dir, ok := n.directory.announces().(cdn.NodeDirectory)
	if !ok || n.view == nil {
		return nil
	}
	const patience = 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(n.closed, patience)
	defer cancel()
	nodes, err := dir.Nodes(ctx)
	if err != nil {
		return nil // those that are known by links may do
	}
	for _, e := range nodes {
		if e.Roles.Has(cdn.RoleEdge) && e.Node != n.node.ID() && isPage(e.URL) {
			urls = append(urls, e.URL)
		}
	}
	return urls
}
