package fanout

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// flushes counts them.
type flushes struct{ n atomic.Int32 }

func newFlushes() *flushes { return &flushes{} }

func (f *flushes) Flush() error {
	f.n.Add(1)
	return nil
}

type counter struct{ n atomic.Int32 }

func (c *counter) Consume(*flushes) { c.n.Add(1) }

func TestEveryConsumerIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(3, newFlushes)
		defer p.Close()
		f, other := p.NewFeed(), p.NewFeed()
		var cs [10]counter
		for i := range cs {
			f.Add(&cs[i], nil)
		}
		bystander := &counter{}
		other.Add(bystander, nil)
		synctest.Wait()
		require.Equal(t, int32(1), bystander.n.Load(), "served once on joining")
		before := make([]int32, len(cs))
		for i := range cs {
			before[i] = cs[i].n.Load()
			require.Positive(t, before[i])
		}
		f.Wake()
		synctest.Wait()
		for i := range cs {
			require.Equal(t, before[i]+1, cs[i].n.Load())
		}
		require.Equal(t, int32(1), bystander.n.Load(), "another feed is left alone")
	})
}

// A thousand who join are not served a thousand times each.
func TestJoiningServesNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, newFlushes)
		defer p.Close()
		f := p.NewFeed()
		first, second := &counter{}, &counter{}
		f.Add(first, nil)
		synctest.Wait()
		remove := f.Add(second, nil)
		synctest.Wait()
		require.Equal(t, []int32{1, 1}, []int32{first.n.Load(), second.n.Load()})
		remove()
		f.Wake()
		synctest.Wait()
		require.Equal(t, []int32{2, 1}, []int32{first.n.Load(), second.n.Load()})
	})
}

// A wake during a serving is not lost: it causes another.
func TestWakeWhileServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, newFlushes)
		defer p.Close()
		f := p.NewFeed()
		c := &blocker{entered: make(chan struct{}), release: make(chan struct{})}
		f.Add(c, nil)
		<-c.entered
		f.Wake()
		f.Wake()
		c.release <- struct{}{}
		<-c.entered
		c.release <- struct{}{}
		synctest.Wait()
		require.Equal(t, int32(2), c.served.Load(), "two wakes in one serving make one more")
	})
}

func TestRemoveWaitsForTheServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, newFlushes)
		defer p.Close()
		f := p.NewFeed()
		c := &blocker{entered: make(chan struct{}), release: make(chan struct{})}
		remove := f.Add(c, nil)
		<-c.entered
		started, over := make(chan struct{}), make(chan int32)
		go func() {
			close(started)
			remove()
			over <- c.served.Load()
		}()
		<-started
		// It waits on a mutex, of which the bubble knows nothing: so it gets time
		// to return too early.
		for range 1000 {
			runtime.Gosched()
		}
		c.release <- struct{}{}
		require.Equal(t, int32(1), <-over, "served to the end")
		remove()
		f.Wake()
		synctest.Wait()
		require.Equal(t, int32(1), c.served.Load(), "not served after its removal")
	})
}

type blocker struct {
	served           atomic.Int32
	entered, release chan struct{}
}

func (b *blocker) Consume(*flushes) {
	b.entered <- struct{}{}
	<-b.release
	b.served.Add(1)
}

// Served last means served late: under load it must not always be the same.
func TestTheLastOneIsNotAlwaysTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, newFlushes)
		defer p.Close()
		f := p.NewFeed()
		var last int
		for i := range 5 {
			f.Add(consumerFunc(func() { last = i }), nil)
		}
		seen := map[int]bool{}
		for range 5 {
			f.Wake()
			synctest.Wait()
			seen[last] = true
		}
		require.Len(t, seen, 5)
	})
}

// Nor while others join.
func TestTheLastOneIsNotAlwaysTheSameWhileOthersJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, newFlushes)
		defer p.Close()
		f := p.NewFeed()
		var last int
		for i := range 50 {
			f.Add(consumerFunc(func() { last = i }), nil)
		}
		synctest.Wait()
		seen := map[int]bool{}
		for range 50 {
			f.Wake()
			synctest.Wait()
			seen[last] = true
			f.Add(&counter{}, nil)() // somebody joins between two frames, and leaves
			synctest.Wait()
		}
		require.Len(t, seen, 50)
	})
}

type consumerFunc func()

func (f consumerFunc) Consume(*flushes) { f() }

func TestWakeDoesNotAllocate(t *testing.T) {
	p := New(2, newFlushes)
	defer p.Close()
	f := p.NewFeed()
	f.Add(&counter{}, nil)
	f.Add(&counter{}, nil)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, f.Wake), 0.1)
}
