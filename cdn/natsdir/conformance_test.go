package natsdir_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/cdn/natsdir"
	"github.com/deltacdn/delta/cdn/replica"
)

func TestDirectory(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	cdntest.TestDirectory(t, func(t *testing.T) cdn.Directory { return e.Open(t).Directory })
}

func TestDirectoryEngine(t *testing.T) {
	t.Parallel()
	cdntest.TestDirectoryEngine(t, func(t *testing.T) cdntest.Engine {
		e := startEngine(t).(*engine)
		deaf := map[cdn.Directory]*atomic.Bool{}
		return cdntest.Engine{
			Open: func(t *testing.T) cdn.Directory {
				b := &atomic.Bool{}
				d := open(t, e.connect(t), natsdir.Deaf(natsdir.Config{}, b))
				deaf[d] = b
				return d
			},
			OpenSkewed: func(t *testing.T, ahead time.Duration) cdn.Directory {
				return open(t, e.connect(t), natsdir.Skewed(natsdir.Config{}, ahead))
			},
			Freeze: func(*testing.T) func() {
				e.Freeze()
				return e.Thaw
			},
			Kill: func(*testing.T) func() {
				e.Kill()
				return e.Start
			},
			Deafen: func(_ *testing.T, d cdn.Directory) func() {
				deaf[d].Store(true)
				return func() { deaf[d].Store(false) }
			},
			Record:     record(t, e.connect(t)),
			Messages:   e.messages,
			NotCovered: map[string]string{"Persist": "NATS stores nothing"},
			Lease:      3 * time.Second, Streams: 200,
		}
	})
}

// record notes what is announced last of each key from now on, for [cdntest.Engine].Record.
func record(t *testing.T, nc *nats.Conn) func(*testing.T) func() {
	t.Helper()
	var mu sync.Mutex
	last := map[replica.Key][]byte{}
	_, err := nc.Subscribe(natsdir.DefaultPrefix+".announce", func(m *nats.Msg) {
		if v, err := replica.Decode(m.Data); err == nil {
			mu.Lock()
			defer mu.Unlock()
			last[v.Key()] = m.Data
		}
	})
	require.NoError(t, err)
	return func(t *testing.T) func() {
		require.NoError(t, nc.Flush())
		mu.Lock()
		defer mu.Unlock()
		var old [][]byte
		for _, data := range last {
			old = append(old, data)
		}
		return func() {
			for _, data := range old {
				require.NoError(t, nc.Publish(natsdir.DefaultPrefix+".announce", data))
			}
			require.NoError(t, nc.Flush())
		}
	}
}

// messages returns how many messages the server has taken and sent.
func (e *engine) messages(t *testing.T) uint64 {
	t.Helper()
	var varz struct {
		In  uint64 `json:"in_msgs"`
		Out uint64 `json:"out_msgs"`
	}
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/varz", e.monitor))
	require.NoError(t, err)
	defer res.Body.Close()
	require.NoError(t, json.NewDecoder(res.Body).Decode(&varz))
	return varz.In + varz.Out
}
