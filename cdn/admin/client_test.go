package admin

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
)

// The client carries each operation to the API, and its errors back.
func TestClient(t *testing.T) {
	list, err := access.New(nil, access.Policy{})
	require.NoError(t, err)
	a, _ := newAPI(t, withTokens, func(c *Config) { c.Access = list })
	server := httptest.NewServer(a)
	defer server.Close()
	c, ctx := &Client{URL: server.URL + "/", Token: changing}, t.Context()

	n, err := c.Network(ctx)
	require.NoError(t, err)
	require.Equal(t, "one", n.Via)
	nodes, err := c.Nodes(ctx)
	require.NoError(t, err)
	require.Len(t, nodes.Nodes, 1)
	r, err := c.Node(ctx, "one")
	require.NoError(t, err)
	require.Equal(t, Current, r.State)
	_, err = c.Node(ctx, "two")
	require.ErrorIs(t, err, cdn.ErrNotFound)
	require.Equal(t, "There is no such node.", sentence(err))
	_, err = c.Links(ctx)
	require.NoError(t, err)
	_, err = c.Streams(ctx, StreamQuery{Stream: "live/a", Limit: 7})
	require.NoError(t, err)
	_, err = c.Sessions(ctx, SessionQuery{Action: "play", Tag: "a&b=c"})
	require.NoError(t, err)
	_, err = c.Sessions(ctx, SessionQuery{Action: "steal"})
	require.ErrorIs(t, err, cdn.ErrInvalid)
	_, err = c.Kick(ctx, "ABCDEFGH@one", "spam")
	require.ErrorIs(t, err, cdn.ErrNotFound)
	o, err := c.Block(ctx, "live/a", Block{Reason: "why"})
	require.NoError(t, err)
	require.Equal(t, []Result{{Node: "one", OK: true}}, o.Results)
	_, err = c.Revoke(ctx, "token 1/2?3", Revocation{})
	require.NoError(t, err)
	blocks, err := c.Blocks(ctx)
	require.NoError(t, err)
	require.Equal(t, "live/a", blocks.Blocks[0].Stream)
	require.Equal(t, "token 1/2?3", blocks.Revocations[0].Grant)
	_, err = c.Unblock(ctx, "live/a")
	require.NoError(t, err)
	_, err = c.Drain(ctx, "one", Drain{})
	require.NoError(t, err)
	_, err = c.Undrain(ctx, "one")
	require.NoError(t, err)
	viewers := 7
	l, err := c.SetLimits(ctx, "one", LimitsChange{Viewers: &viewers})
	require.NoError(t, err)
	require.Equal(t, 7, l.Viewers)
	l, err = c.Limits(ctx, "one")
	require.NoError(t, err)
	require.Equal(t, 7, l.Viewers)

	c.Token = looking
	_, err = c.Unblock(ctx, "live/a")
	require.ErrorIs(t, err, cdn.ErrForbidden)
	c.Token = ""
	_, err = c.Network(ctx)
	require.ErrorIs(t, err, cdn.ErrUnauthorized)
	server.Close()
	_, err = c.Network(ctx)
	require.ErrorIs(t, err, cdn.ErrPeerLost)
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	_, err = (&Client{URL: other.URL}).Network(ctx)
	require.ErrorIs(t, err, cdn.ErrPeerLost)
	_, err = (&Client{URL: "://"}).Network(ctx)
	require.ErrorIs(t, err, cdn.ErrInvalid)
}

// All limits of a node can be read and changed.
func TestLimitsAreAll(t *testing.T) {
	l := cdn.Limits{}
	for i, f := range fieldsOf(&l) {
		f.SetInt(int64(i + 1))
	}
	told := limitsOf(l)
	require.Len(t, fieldsOf(&told), len(fieldsOf(&l)))
	for _, f := range fieldsOf(&told) {
		require.NotZero(t, f.Int())
	}
	var c LimitsChange
	require.Len(t, fieldsOf(&c), len(fieldsOf(&l)))
	require.Equal(t, l, c.with(l))
	for i, f := range fieldsOf(&c) {
		n := 100 + i
		f.Set(reflect.ValueOf(&n))
		changed := c.with(l)
		require.NotEqual(t, l, changed)
		l = changed
	}
}

func fieldsOf(v any) (all []reflect.Value) {
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		all = append(all, s.Field(i))
	}
	return all
}
