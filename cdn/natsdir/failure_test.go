package natsdir_test

import (
	"context"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/natsdir"
	"github.com/deltacdn/delta/cdn/replica"
	"github.com/deltacdn/delta/cdn/replica/replicatest"
)

var live = cdn.Entry{Stream: "live", Node: "o1", URL: "https://o1", Publication: "p", Epoch: 1}

func TestNewRefuses(t *testing.T) {
	e := startEngine(t).(*engine)
	for name, tc := range map[string]struct {
		nc     *nats.Conn
		config natsdir.Config
		want   error
	}{
		"no connection":   {nil, natsdir.Config{}, cdn.ErrInvalid},
		"no echo":         {e.connect(t, nats.NoEcho()), natsdir.Config{}, cdn.ErrInvalid},
		"wildcard prefix": {e.connect(t), natsdir.Config{Prefix: "a.*"}, cdn.ErrInvalid},
		"empty token":     {e.connect(t), natsdir.Config{Prefix: "a."}, cdn.ErrInvalid},
		"space in prefix": {e.connect(t), natsdir.Config{Prefix: "a b"}, cdn.ErrInvalid},
		"negative hold":   {e.connect(t), natsdir.Config{Hold: -1}, cdn.ErrInvalid},
		"small payload":   {inProcess(t, server.Options{MaxPayload: 4096}), natsdir.Config{}, cdn.ErrUnsupported},
	} {
		d, err := natsdir.New(tc.nc, tc.config)
		var typed *cdn.Error
		require.ErrorAs(t, err, &typed, name)
		require.ErrorIs(t, err, tc.want, name)
		assert.Nil(t, d, name)
	}
	closed := e.connect(t)
	closed.Close()
	_, err := natsdir.New(closed, natsdir.Config{})
	require.ErrorIs(t, err, cdn.ErrInvalid)
}

// inProcess returns a connection to a server in this process.
func inProcess(t *testing.T, o server.Options, options ...nats.Option) *nats.Conn {
	t.Helper()
	o.DontListen, o.NoSigs, o.NoLog = true, true, true
	s, err := server.NewServer(&o)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	nc, err := nats.Connect("", append(natsdir.Options(), append(options, nats.InProcessServer(s))...)...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func open(t *testing.T, nc *nats.Conn, c natsdir.Config) *natsdir.Directory {
	t.Helper()
	d, err := natsdir.New(nc, c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestPutRefuses(t *testing.T) {
	d := open(t, inProcess(t, server.Options{}), natsdir.Config{})
	for name, tc := range map[string]struct {
		change func(*cdn.Entry)
		ttl    time.Duration
	}{
		"no stream":   {func(e *cdn.Entry) { e.Stream = "" }, time.Minute},
		"no node":     {func(e *cdn.Entry) { e.Node = "" }, time.Minute},
		"no lease":    {func(*cdn.Entry) {}, 0},
		"endless URL": {func(e *cdn.Entry) { e.URL = strings.Repeat("u", replica.MaxValue) }, time.Minute},
	} {
		bad := live
		tc.change(&bad)
		err := d.Put(t.Context(), bad, tc.ttl)
		var typed *cdn.Error
		require.ErrorAs(t, err, &typed, name)
		require.ErrorIs(t, err, cdn.ErrInvalid, name)
	}
	require.ErrorIs(t, d.PutNode(t.Context(), cdn.NodeEntry{}, time.Minute), cdn.ErrInvalid)
	require.ErrorIs(t, d.RemoveNode(t.Context(), ""), cdn.ErrInvalid)
	assert.Equal(t, 0, d.Stats().Entries)
}

func TestFullDirectory(t *testing.T) {
	d := open(t, inProcess(t, server.Options{}), natsdir.Config{Limit: 1})
	require.NoError(t, d.Put(t.Context(), live, time.Minute))
	more := live
	more.Stream = "more"
	require.ErrorIs(t, d.Put(t.Context(), more, time.Minute), cdn.ErrOverLimit)
	require.NoError(t, d.Put(t.Context(), live, time.Minute))
}

// TestAway: while the engine is away, announcing fails at once, and is not made up for
// when it is back; what is known is found.
func TestAway(t *testing.T) {
	for name, away := range map[string]struct {
		begin, end func(*engine)
	}{
		"killed": {func(e *engine) { e.Kill() }, func(e *engine) { e.Start() }},
		"frozen": {func(e *engine) { e.Freeze() }, func(e *engine) { e.Thaw() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startEngine(t).(*engine)
			d, other := e.directory(t), e.directory(t)
			require.NoError(t, d.Put(t.Context(), live, time.Minute))
			away.begin(e)
			eventually(t, d.Away)
			late := live
			late.Stream = "late"
			err := d.Put(t.Context(), late, time.Minute)
			require.ErrorIs(t, err, replica.ErrAway)
			ctx := replicatest.AtOnce(t)
			require.ErrorIs(t, d.Put(ctx, late, time.Minute), replica.ErrAway)
			require.ErrorIs(t, d.PutNode(ctx, cdn.NodeEntry{Node: "n"}, time.Minute), replica.ErrAway)
			require.ErrorIs(t, d.RemoveNode(ctx, "n"), replica.ErrAway)

			found, err := d.Find(ctx, "live")
			require.NoError(t, err)
			assert.Equal(t, []cdn.Entry{live}, found)
			_, err = d.Find(ctx, "unknown")
			require.ErrorIs(t, err, replica.ErrAway, "nobody knows")
			_, err = d.Nodes(ctx)
			require.ErrorIs(t, err, replica.ErrAway, "nor of any node")

			away.end(e)
			eventually(t, func() bool { return !d.Away() && !other.Away() })
			require.NoError(t, d.PutNode(t.Context(), cdn.NodeEntry{Node: "n"}, time.Minute))
			eventually(t, func() bool {
				nodes, err := other.Nodes(t.Context())
				return err == nil && len(nodes) == 1
			})
			found, err = other.Find(t.Context(), "late")
			require.NoError(t, err)
			assert.Empty(t, found, "what was not announced in time is not announced")
		})
	}
}

// TestStartsWithoutEngine: a node may be there ahead of its engine.
func TestStartsWithoutEngine(t *testing.T) {
	t.Parallel()
	e := startEngine(t).(*engine)
	there := e.directory(t)
	require.NoError(t, there.Put(t.Context(), live, time.Minute))
	e.Kill()
	d := e.directory(t)
	require.ErrorIs(t, d.Put(t.Context(), live, time.Minute), replica.ErrAway)
	_, err := d.Find(t.Context(), "live")
	require.ErrorIs(t, err, replica.ErrAway)
	e.Start()
	eventually(t, func() bool {
		found, err := d.Find(t.Context(), "live") // the other one was asked
		return err == nil && len(found) == 1
	})
}

// TestClockSetBack: a node comes again after its clock has been set back by an hour.
// Others remember higher numbers of it, and tell it.
func TestClockSetBack(t *testing.T) {
	nc := inProcess(t, server.Options{})
	d := open(t, nc, natsdir.Config{})
	old := replica.Value{Seq: uint64(time.Now().Add(time.Hour).UnixNano()), Lease: time.Minute, Entry: &cdn.Entry{Stream: "live", Node: "o1", URL: "https://old"}}
	raw, err := old.Encode()
	require.NoError(t, err)
	require.NoError(t, nc.Publish(natsdir.DefaultPrefix+".announce", raw))
	eventually(t, func() bool { return d.Stats().Entries == 1 })

	again := open(t, nc, natsdir.Config{})
	second := live
	second.Stream = "second"
	require.NoError(t, again.Put(t.Context(), second, time.Minute))
	require.NoError(t, again.Put(t.Context(), live, time.Minute))
	eventually(t, func() bool {
		found, err := d.Find(t.Context(), "live")
		return err == nil && len(found) == 1 && found[0].URL == live.URL
	})
	require.NoError(t, again.Put(t.Context(), live, time.Minute))
	require.NoError(t, again.Remove(t.Context(), live))
	eventually(t, func() bool { // from now on its numbers are high enough
		found, err := d.Find(t.Context(), "live")
		return err == nil && len(found) == 0
	})
}

// TestGarbage: what others send is counted, and does no harm.
func TestGarbage(t *testing.T) {
	nc := inProcess(t, server.Options{})
	d := open(t, nc, natsdir.Config{})
	inbox, err := nc.SubscribeSync(natsdir.DefaultPrefix + ".announce")
	require.NoError(t, err)
	require.NoError(t, d.Put(t.Context(), live, time.Minute))
	m, err := inbox.NextMsg(patience)
	require.NoError(t, err)
	for _, subject := range []string{natsdir.DefaultPrefix + ".announce", natsdir.DefaultPrefix + ".ask", m.Reply} {
		for _, text := range []string{
			"", "\n", "{}", "null", "[]", `{"v":1}`, `{"v":9,"ask":{"from":"x"}}`, `{"v":1,"ask":{"from":"a b"}}`, `{"v":1,"ask":{"from":""}}`,
			`{"v":1,"answer":{"from":"x","part":2,"of":1}}`, `{"v":1,"answer":{"from":"x","part":1,"of":1}}` + "\ngarbage", strings.Repeat("x", 100000),
			`{"v":1,"seq":"1","lease_ms":1,"entry":{}}`,
		} {
			require.NoError(t, nc.PublishRequest(subject, "else.where", []byte(text)))
		}
	}
	require.NoError(t, nc.Flush())
	eventually(t, func() bool { return d.Stats().Refused >= 30 })
	require.NoError(t, d.Put(t.Context(), live, time.Minute))
	assert.Equal(t, 1, d.Stats().Entries)
}

// TestWire holds what is sent, which docs/directory.md describes.
func TestWire(t *testing.T) {
	nc := inProcess(t, server.Options{})
	all, err := nc.SubscribeSync(natsdir.DefaultPrefix + ".>")
	require.NoError(t, err)
	d := open(t, nc, natsdir.Config{})
	m, err := all.NextMsg(patience)
	require.NoError(t, err)
	assert.Equal(t, natsdir.DefaultPrefix+".ask", m.Subject)
	id := strings.TrimPrefix(m.Reply, natsdir.DefaultPrefix+".to.")
	assert.Equal(t, `{"v":1,"ask":{"from":"`+id+`","new":true}}`, string(m.Data))

	require.NoError(t, d.Put(t.Context(), live, time.Minute))
	reply := nc.NewRespInbox()
	answers, err := nc.SubscribeSync(natsdir.DefaultPrefix + ".to.me")
	require.NoError(t, err)
	require.NoError(t, nc.PublishRequest(natsdir.DefaultPrefix+".ask", reply, []byte(`{"v":1,"ask":{"from":"me","new":true}}`)))
	m, err = answers.NextMsg(patience)
	require.NoError(t, err)
	head, value, _ := strings.Cut(string(m.Data), "\n")
	assert.Equal(t, `{"v":1,"answer":{"from":"`+id+`","part":1,"of":1}}`, head)
	v, err := replica.Decode([]byte(value))
	require.NoError(t, err)
	assert.Equal(t, live, *v.Entry)
	assert.Equal(t, time.Minute, v.Lease)
	require.NoError(t, nc.PublishRequest(natsdir.DefaultPrefix+".ask", reply, []byte(`{"v":1,"ask":{"from":"me","have":["`+id+`"]}}`)))
	_, err = answers.NextMsg(100 * time.Millisecond)
	require.ErrorIs(t, err, nats.ErrTimeout, "it has answered")
}

// TestPermissions: a user who may not subscribe is told so.
func TestPermissions(t *testing.T) {
	user := &server.User{Username: "u", Password: "p", Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{">"}}}}
	nc := inProcess(t, server.Options{Users: []*server.User{user}}, nats.UserInfo("u", "p"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	d := open(t, nc, natsdir.Config{})
	err := d.Put(t.Context(), live, time.Minute)
	require.ErrorIs(t, err, replica.ErrAway)
	require.ErrorContains(t, err, natsdir.DefaultPrefix+".>")
}

func TestClose(t *testing.T) {
	nc := inProcess(t, server.Options{})
	d := open(t, nc, natsdir.Config{})
	require.NoError(t, d.Put(t.Context(), live, time.Minute))
	watched := make(chan error, 1)
	go func() {
		for _, err := range d.Watch(context.Background(), "live") {
			if err != nil {
				watched <- err
			}
		}
	}()
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	require.ErrorIs(t, <-watched, cdn.ErrClosed)
	require.ErrorIs(t, d.Put(t.Context(), live, time.Minute), cdn.ErrClosed)
	require.ErrorIs(t, d.Remove(t.Context(), live), cdn.ErrClosed)
	_, err := d.Find(t.Context(), "live")
	require.ErrorIs(t, err, cdn.ErrClosed)
	_, err = d.Nodes(t.Context())
	require.ErrorIs(t, err, cdn.ErrClosed)
	assert.True(t, nc.IsConnected(), "the connection is its owner's")
	assert.Equal(t, 0, nc.NumSubscriptions())
	var stacks strings.Builder
	require.NoError(t, pprof.Lookup("goroutine").WriteTo(&stacks, 2))
	for _, name := range []string{").receive(", ").keepEngine("} {
		assert.NotContains(t, stacks.String(), "natsdir.(*Directory"+name)
	}
}
