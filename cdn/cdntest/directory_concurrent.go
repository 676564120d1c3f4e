package cdntest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/deltacdn/delta/cdn"
)

// concurrentEpochs lets many nodes take a publication over at once. In whatever
// order that happens, the highest epoch is taken and nothing else remains.
func concurrentEpochs(d *dirTest) {
	const takers = 16
	var wg sync.WaitGroup
	for epoch := range uint64(takers) {
		wg.Go(func() {
			e := d.entry(cdn.NodeID(fmt.Sprintf("taker-%d", epoch)))
			e.Epoch = epoch
			err := d.dir.Put(d.t.Context(), e, ttl)
			if err != nil && (epoch == takers-1 || !errors.Is(err, cdn.ErrStale)) {
				d.t.Errorf("Put with epoch %d of %d: %v", epoch, takers, err)
			}
		})
	}
	wg.Wait()
	d.wantNodes(cdn.NodeID(fmt.Sprintf("taker-%d", takers-1)))
}

// concurrentNodes lets nodes come and go at once: at the end those are there
// that wanted to stay.
func concurrentNodes(d *dirTest) {
	const nodes = 8
	var wg sync.WaitGroup
	var want []cdn.NodeID
	for i := range nodes {
		e := d.entry(cdn.NodeID(fmt.Sprintf("node-%d", i)))
		stays := i%2 == 0
		if stays {
			want = append(want, e.Node)
		}
		wg.Go(func() { d.comeAndGo(e, stays) })
	}
	wg.Wait()
	d.wantNodes(want...)
}

func (d *dirTest) comeAndGo(e cdn.Entry, stays bool) {
	ctx := d.t.Context()
	for range 10 {
		if err := d.dir.Put(ctx, e, ttl); err != nil {
			d.t.Errorf("Put of %s: %v", e.Node, err)
		}
		if _, err := d.dir.Find(ctx, d.stream); err != nil {
			d.t.Errorf("Find: %v", err)
		}
		if err := d.dir.Remove(ctx, e); err != nil {
			d.t.Errorf("Remove of %s: %v", e.Node, err)
		}
	}
	if !stays {
		return
	}
	if err := d.dir.Put(ctx, e, ttl); err != nil {
		d.t.Errorf("Put of %s: %v", e.Node, err)
	}
}
