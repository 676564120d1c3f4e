package link

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// rename changes what an offer or answer says of its node, as who carries it can.
func rename(t *testing.T, body []byte, change func(*description)) []byte {
	var e envelope
	require.NoError(t, json.Unmarshal(body, &e))
	var d description
	require.NoError(t, json.Unmarshal(e.Link, &d))
	change(&d)
	body, err := seal(d, cdn.Trust{}, nil)
	require.NoError(t, err)
	return body
}

// With pins, nothing but the other node's own word on the link says which it is.
func TestANodeIsWhoItSaysOnTheLink(t *testing.T) {
	ca := newAuthority(t)
	one, onePrint := ca.issue(t, "one")
	two, twoPrint := ca.issue(t, "two")
	for name, change := range map[string]func(*description){
		"name":    func(d *description) { d.Node = "three" },
		"process": func(d *description) { d.Instance = "another" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t, cdn.Trust{Certificate: one, Pins: []string{twoPrint}}, cdn.Trust{Certificate: two, Pins: []string{onePrint}})
				l, err := a.to(cdn.Entry{URL: "two"}, dialFunc(func(ctx context.Context, _ string, offer []byte) ([]byte, error) {
					answer, err := b.Link(ctx, signal.LinkOffer{Body: offer, RemoteAddr: "192.0.2.7:1"})
					if err != nil {
						return nil, err
					}
					return rename(t, answer, change), nil
				}))
				require.NoError(t, err)
				l.start()
				time.Sleep(time.Second)
				require.ErrorIs(t, l.Err(), cdn.ErrUnauthorized)
				require.Zero(t, count(a))
				require.Zero(t, count(b))
			})
		})
	}
}

// Where an entry names its node, another that answers there is refused, and no
// link with it, up or not, is taken for one with that node.
func TestAnotherNodeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{}, cdn.Trust{})
		w := wires{to: map[string]*Links{"two": b}}
		for range 2 {
			l, err := a.to(cdn.Entry{Node: "three", URL: "two"}, w)
			require.NoError(t, err)
			same, err := a.to(cdn.Entry{Node: "three", URL: "two"}, w)
			require.NoError(t, err)
			require.Same(t, l, same)
			l.start()
			<-l.Done()
			require.ErrorIs(t, l.Err(), cdn.ErrPeerLost)
			require.ErrorContains(t, l.Err(), "node two answers where three should be")
			good, err := a.to(cdn.Entry{Node: "two", URL: "two"}, w)
			require.NoError(t, err)
			good.start()
			<-good.up
		}
		require.Len(t, a.Stats(), 1)
	})
}
