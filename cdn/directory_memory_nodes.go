package cdn

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// nodeLease is a node's entry in a [Memory].
type nodeLease struct {
	entry   NodeEntry
	expires time.Time
}

// PutNode implements [NodeDirectory].
func (m *Memory) PutNode(ctx context.Context, n NodeEntry, ttl time.Duration) error {
	if err := m.putNode(ctx, n.clone(), ttl); err != nil {
		return &Error{Op: "announce node", Err: err}
	}
	return nil
}

func (m *Memory) putNode(ctx context.Context, n NodeEntry, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n.Node == "" || ttl <= 0 {
		return fmt.Errorf("%w: entry of node %q for %v", ErrInvalid, n.Node, ttl)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if _, again := m.nodes[n.Node]; !again && len(m.nodes) >= m.limit {
		m.expireNodesLocked(now)
		if len(m.nodes) >= m.limit {
			return fmt.Errorf("%w: %d nodes", ErrOverLimit, m.limit)
		}
	}
	m.nodes[n.Node] = nodeLease{n, now.Add(ttl)}
	return nil
}

// RemoveNode implements [NodeDirectory].
func (m *Memory) RemoveNode(ctx context.Context, id NodeID) error {
	if err := ctx.Err(); err != nil {
		return &Error{Op: "withdraw node", Err: err}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.nodes, id)
	return nil
}

// Nodes implements [NodeDirectory].
func (m *Memory) Nodes(ctx context.Context) ([]NodeEntry, error) {
	if err := ctx.Err(); err != nil {
		return nil, &Error{Op: "find nodes", Err: err}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expireNodesLocked(time.Now())
	var all []NodeEntry
	for _, l := range m.nodes {
		all = append(all, l.entry.clone())
	}
	slices.SortFunc(all, func(a, b NodeEntry) int { return cmp.Compare(a.Node, b.Node) })
	return all, nil
}

func (m *Memory) expireNodesLocked(now time.Time) {
	maps.DeleteFunc(m.nodes, func(_ NodeID, l nodeLease) bool { return !now.Before(l.expires) })
}
