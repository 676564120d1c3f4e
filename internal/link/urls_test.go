package link

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// A link knows a bounded number of its node's URLs, however often that is dialled.
func TestURLsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{}, cdn.Trust{})
		w := wires{to: map[string]*Links{"two": b}}
		first, err := a.to(cdn.Entry{URL: "two"}, w)
		require.NoError(t, err)
		first.start()
		<-first.up
		for i := range 100 {
			time.Sleep(200 * time.Millisecond) // the other side keeps what is not made for a while
			e := cdn.Entry{URL: fmt.Sprint("two/", i%50)}
			w.to[e.URL] = b
			l, err := a.to(e, w)
			require.NoError(t, err)
			l.start()
			if l != first {
				<-l.done
				require.ErrorIs(t, l.Err(), errMoved)
			}
			l, err = a.to(e, w)
			require.NoError(t, err)
			require.Same(t, first, l, "it is known by this URL now")
		}
		require.LessOrEqual(t, len(first.urls), maxURLs)
		require.Equal(t, 1, count(a))
	})
}
