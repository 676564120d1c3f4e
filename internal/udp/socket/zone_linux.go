package socket

import (
	"net"
	"strconv"
	"sync"
	"time"
)

// zones are the system's.
var zones = &zoneTable{list: net.Interfaces}

// zoneFor is how long a [zoneTable] is used until the interfaces are listed again.
const zoneFor = time.Minute

// A zoneTable knows the names and indices of the interfaces, which are the zones of
// link-local addresses. It lists them once a minute at most, also when it is asked for one
// that it does not know: whoever sends datagrams must not be able to have them listed
// for each.
type zoneTable struct {
	list func() ([]net.Interface, error) // static

	mu      sync.Mutex
	until   time.Time // when the interfaces are to be listed again
	names   map[uint32]string
	indices map[string]uint32
}

// name returns the zone of an interface: its name, or its index if it is not known.
func (z *zoneTable) name(index uint32) string {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.refresh()
	if name, ok := z.names[index]; ok {
		return name
	}
	return strconv.FormatUint(uint64(index), 10)
}

// index returns the index of the interface that a zone names, or 0.
func (z *zoneTable) index(name string) uint32 {
	if name == "" {
		return 0
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.refresh()
	if index, ok := z.indices[name]; ok {
		return index
	}
	n, _ := strconv.ParseUint(name, 10, 32) // 0, if it is no number either
	return uint32(n)
}

func (z *zoneTable) refresh() {
	now := time.Now()
	if now.Before(z.until) {
		return
	}
	z.until = now.Add(zoneFor)
	all, err := z.list()
	if err != nil {
		return // the old table stays in use
	}
	z.names, z.indices = make(map[uint32]string, len(all)), make(map[string]uint32, len(all))
	for _, one := range all {
		z.names[uint32(one.Index)], z.indices[one.Name] = one.Name, uint32(one.Index)
	}
}
