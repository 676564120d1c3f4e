package cdn

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// EntryVersion is the version of the JSON that [Entry] and [NodeEntry] are written
// as. It rises only when older readers would misread what is written: fields that a
// reader does not know are passed over.
const EntryVersion = 1

// An entryJSON is an [Entry] as a directory stores it. Times are in milliseconds, and
// the epoch is text, since it may be greater than what JSON numbers hold elsewhere.
type entryJSON struct {
	Version     int         `json:"v"`
	Stream      StreamID    `json:"stream"`
	Node        NodeID      `json:"node"`
	URL         string      `json:"url,omitempty"`
	Publication string      `json:"publication,omitempty"`
	Epoch       uint64      `json:"epoch,string"`
	Hops        int         `json:"hops"`
	Path        []NodeID    `json:"path,omitempty"`
	Latency     float64     `json:"latency_ms,omitempty"`
	Load        float64     `json:"load,omitempty"`
	Tracks      []trackJSON `json:"tracks,omitempty"`
}

type trackJSON struct {
	ID         string   `json:"id"`
	Kind       string   `json:"kind"`
	MimeType   string   `json:"mime"`
	ClockRate  uint32   `json:"rate"`
	Channels   uint16   `json:"channels,omitempty"`
	Fmtp       string   `json:"fmtp,omitempty"`
	Layers     []string `json:"layers"`
	Extensions []string `json:"extensions,omitempty"`
}

// MarshalJSON writes the entry in the form that directories store, which docs/directory.md
// describes.
func (e Entry) MarshalJSON() ([]byte, error) {
	j := entryJSON{
		Version: EntryVersion, Stream: e.Stream, Node: e.Node, URL: e.URL, Publication: e.Publication, Epoch: e.Epoch,
		Hops: e.Hops, Path: e.Path, Latency: milliseconds(e.Latency), Load: e.Load,
	}
	for _, t := range e.Tracks {
		j.Tracks = append(j.Tracks, trackJSON{
			ID: t.ID, Kind: t.Kind.String(), MimeType: t.Codec.MimeType, ClockRate: t.Codec.ClockRate, Channels: t.Codec.Channels,
			Fmtp: t.Codec.Fmtp, Layers: t.Layers, Extensions: t.Extensions,
		})
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes. It fails with an error wrapping
// [ErrUnsupported] for a later version, and [ErrInvalid] for names that are none.
func (e *Entry) UnmarshalJSON(b []byte) error {
	var j entryJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("%w: entry: %w", ErrInvalid, err)
	}
	if err := readable(j.Version); err != nil {
		return err
	}
	if _, err := ParseStreamID(string(j.Stream)); err != nil {
		return err
	}
	if err := nodeIDs(append([]NodeID{j.Node}, j.Path...)); err != nil {
		return err
	}
	*e = Entry{
		Stream: j.Stream, Node: j.Node, URL: j.URL, Publication: j.Publication, Epoch: j.Epoch,
		Hops: max(j.Hops, 0), Path: j.Path, Latency: duration(j.Latency), Load: share(j.Load),
	}
	for _, t := range j.Tracks {
		info := TrackInfo{
			ID: t.ID, Codec: Codec{MimeType: t.MimeType, ClockRate: t.ClockRate, Channels: t.Channels, Fmtp: t.Fmtp},
			Layers: t.Layers, Extensions: t.Extensions,
		}
		for _, k := range []Kind{Audio, Video} {
			if t.Kind == k.String() {
				info.Kind = k
			}
		}
		e.Tracks = append(e.Tracks, info)
	}
	return nil
}

// A nodeJSON is a [NodeEntry] as a directory stores it.
type nodeJSON struct {
	Version  int              `json:"v"`
	Node     NodeID           `json:"node"`
	URL      string           `json:"url,omitempty"`
	Addrs    []netip.AddrPort `json:"addrs,omitempty"`
	Roles    []string         `json:"roles,omitempty"`
	Group    string           `json:"group,omitempty"`
	Load     float64          `json:"load,omitempty"`
	Draining bool             `json:"draining,omitempty"`
	Origins  []originJSON     `json:"origins,omitempty"`
}

type originJSON struct {
	Origin  NodeID  `json:"node"`
	Latency float64 `json:"latency_ms"`
}

var roleNames = []struct {
	role Roles
	name string
}{{RoleOrigin, "origin"}, {RoleRelay, "relay"}, {RoleEdge, "edge"}}

// MarshalJSON writes the entry in the form that directories store, which docs/directory.md
// describes.
func (n NodeEntry) MarshalJSON() ([]byte, error) {
	j := nodeJSON{
		Version: EntryVersion, Node: n.Node, URL: n.URL, Addrs: n.Addrs, Group: n.Group, Load: n.Load, Draining: n.Draining,
	}
	for _, r := range roleNames {
		if n.Roles.Has(r.role) {
			j.Roles = append(j.Roles, r.name)
		}
	}
	for _, o := range n.Origins {
		j.Origins = append(j.Origins, originJSON{o.Origin, milliseconds(o.Latency)})
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes. Roles that are not known are passed
// over. It fails with an error wrapping [ErrUnsupported] for a later version, and
// [ErrInvalid] for names that are none.
func (n *NodeEntry) UnmarshalJSON(b []byte) error {
	var j nodeJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("%w: node entry: %w", ErrInvalid, err)
	}
	if err := readable(j.Version); err != nil {
		return err
	}
	if len(j.Origins) > MaxOrigins {
		j.Origins = j.Origins[:MaxOrigins]
	}
	ids := []NodeID{j.Node}
	for _, o := range j.Origins {
		ids = append(ids, o.Origin)
	}
	if err := nodeIDs(ids); err != nil {
		return err
	}
	*n = NodeEntry{Node: j.Node, URL: j.URL, Addrs: j.Addrs, Group: j.Group, Load: share(j.Load), Draining: j.Draining}
	for _, name := range j.Roles {
		for _, r := range roleNames {
			if r.name == name {
				n.Roles |= r.role
			}
		}
	}
	for _, o := range j.Origins {
		n.Origins = append(n.Origins, OriginLatency{o.Origin, duration(o.Latency)})
	}
	return nil
}

func readable(version int) error {
	if version != EntryVersion {
		return fmt.Errorf("%w: entry of version %d, this is version %d", ErrUnsupported, version, EntryVersion)
	}
	return nil
}

func nodeIDs(ids []NodeID) error {
	for _, id := range ids {
		if _, err := ParseNodeID(string(id)); err != nil {
			return err
		}
	}
	return nil
}

// milliseconds and duration convert between times and what is stored of them, to the
// microsecond.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func duration(ms float64) time.Duration {
	if !(ms > 0) { // not a number, too
		return 0
	}
	return time.Duration(min(ms, 1e9) * float64(time.Millisecond)).Round(time.Microsecond)
}

// share returns a load as one from 0 to 1.
func share(load float64) float64 {
	if !(load > 0) { // not a number, too
		return 0
	}
	return min(load, 1)
}
