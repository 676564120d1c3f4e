package hookauth

import (
	"container/list"
	"time"
)

// A cache keeps answers for as long as they last, and the ones used last where there
// is no room for all. It has no lock of its own.
type cache struct {
	limit  int
	recent *list.List // of *kept, the one used last first
	byKey  map[key]*list.Element
}

type kept struct {
	key    key
	answer Answer
	until  time.Time
}

func newCache(limit int) *cache {
	return &cache{limit: limit, recent: list.New(), byKey: make(map[key]*list.Element)}
}

func (c *cache) get(k key, now time.Time) (Answer, bool) {
	e := c.byKey[k]
	if e == nil {
		return Answer{}, false
	}
	found := e.Value.(*kept)
	if !now.Before(found.until) {
		c.remove(k)
		return Answer{}, false
	}
	c.recent.MoveToFront(e)
	return found.answer, true
}

func (c *cache) put(k key, a Answer, until time.Time) {
	c.remove(k)
	c.byKey[k] = c.recent.PushFront(&kept{k, a, until})
	if c.recent.Len() > c.limit {
		c.remove(c.recent.Back().Value.(*kept).key)
	}
}

func (c *cache) remove(k key) {
	if e := c.byKey[k]; e != nil {
		c.recent.Remove(e)
		delete(c.byKey, k)
	}
}
