package rewrite

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// first is what is added to the numbers of the first span.
const first = 1 << 16

func TestTheFirstSpanKeepsItsOrder(t *testing.T) {
	var r Rewriter[string]
	_, ok := r.Map(5)
	require.False(t, ok, "nothing was started")
	r.Start("h", 1000)
	for _, seq := range []uint64{1000, 1002, 1001} {
		as, ok := r.Map(seq)
		require.True(t, ok)
		require.Equal(t, first+seq, as)
	}
	_, ok = r.Map(999)
	require.False(t, ok, "older than the span")
}

func TestSpansContinueOneAnother(t *testing.T) {
	var r Rewriter[string]
	r.Start("h", 1000)
	r.Map(1000)
	r.Map(1001)

	r.Start("l", 77) // another layer, other numbers
	as, ok := r.Map(77)
	require.True(t, ok)
	require.Equal(t, uint64(first+1002), as)
	as, _ = r.Map(79) // 78 is lost on the way: its number stays free
	require.Equal(t, uint64(first+1004), as)

	r.Start("l", 300) // after a pause
	as, _ = r.Map(300)
	require.Equal(t, uint64(first+1005), as)
	require.Equal(t, as, r.Highest())

	for as, want := range map[uint64]struct {
		source string
		seq    uint64
	}{first + 1000: {"h", 1000}, first + 1001: {"h", 1001}, first + 1003: {"l", 78}, first + 1004: {"l", 79}, first + 1005: {"l", 300}} {
		source, seq, ok := r.Source(as)
		require.True(t, ok)
		require.Equal(t, want.source, source, "number %d", as)
		require.Equal(t, want.seq, seq, "number %d", as)
	}
	_, _, ok = r.Source(first + 1006)
	require.False(t, ok, "not sent yet")
	_, _, ok = r.Source(first + 999)
	require.False(t, ok, "before all spans")
}

func TestOldSpansAreForgotten(t *testing.T) {
	var r Rewriter[int]
	for i := range kept + 3 {
		r.Start(i, uint64(i*1000))
		r.Map(uint64(i * 1000))
	}
	_, _, ok := r.Source(0)
	require.False(t, ok)
	for back := range uint64(kept + 1) {
		source, seq, ok := r.Source(r.Highest() - back)
		require.True(t, ok)
		require.Equal(t, kept+2-int(back), source)
		require.Equal(t, uint64(source*1000), seq)
	}
	_, _, ok = r.Source(r.Highest() - kept - 1)
	require.False(t, ok)
}

// The 16 bits do not wrap while a receiver may have got nothing yet.
func TestTheFirstNumberIsFarFromTheWrap(t *testing.T) {
	for _, seq := range []uint64{0, 1, 1<<15 - 1, 1 << 15, 1<<16 - 1, 1 << 16, 5<<16 - 3} {
		var r Rewriter[int]
		r.Start(1, seq)
		as, _ := r.Map(seq)
		require.Less(t, uint16(as), uint16(1<<15))
		_, back, ok := r.Source(as)
		require.True(t, ok)
		require.Equal(t, seq, back)
	}
}
