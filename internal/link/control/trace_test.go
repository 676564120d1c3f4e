package control

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the traces anew")

// describe writes a datagram as a person reads it.
func describe(datagram []byte) string {
	var all []string
	err := frames(datagram, func(t frameType, body []byte) {
		switch t {
		case framePart:
			p, _ := parsePart(body)
			m, text, err := parse(p.data)
			switch {
			case p.index > 0 || err != nil:
				all = append(all, fmt.Sprintf("#%d part %d/%d", p.seq, p.index+1, p.count))
			case p.count > 1:
				all = append(all, fmt.Sprintf("#%d part 1/%d of %s %d", p.seq, p.count, m.kind, m.id))
			case m.kind >= kindCall && len(text) > 0:
				all = append(all, fmt.Sprintf("#%d %s %d.%d %s %q", p.seq, m.kind, m.id, m.revision, [...]string{"more", "last", "failed"}[text[0]], text[1:]))
			default:
				all = append(all, fmt.Sprintf("#%d %s %d.%d %s", p.seq, m.kind, m.id, m.revision, text))
			}
		case frameAck:
			a, _ := parseSet(body)
			all = append(all, fmt.Sprintf("ack <%d %b", a.next, a.ahead[0]))
		case framePing:
			p, _ := parsePing(body)
			text := fmt.Sprintf("ping %d", p.id)
			if p.load > 0 {
				text += fmt.Sprintf(" load %.3f", float64(p.load)/1000)
			}
			all = append(all, text)
		case framePong:
			p, _ := parsePing(body)
			all = append(all, fmt.Sprintf("pong %d", p.id))
		case frameClose:
			all = append(all, "close "+string(body))
		default:
			all = append(all, fmt.Sprintf("%d?", t))
		}
	})
	if err != nil {
		return err.Error()
	}
	return strings.Join(all, " | ")
}

// The traces are what happens, to be read; `go test ./internal/link/control -update`
// writes them.
func TestTraces(t *testing.T) {
	for name, play := range map[string]func(*sim){
		"open and subscribe": func(s *sim) {
			s.serveAll(1, 1)
			s.end[0].Subscribe(s.now, Subscribe{Stream: "live/one", Path: []string{"a"}})
			s.run(t, 700*time.Millisecond)
		},
		"subscribe with a trace": func(s *sim) {
			s.serveAll(1, 1)
			s.end[0].Subscribe(s.now, Subscribe{
				Stream: "live/one", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TraceState: "a=1",
			})
			s.run(t, 100*time.Millisecond)
		},
		"refused": func(s *sim) {
			s.watch = func(side int, e Event) {
				if a, ok := e.(Asked); ok {
					s.end[side].End(s.now, a.ID, Reason{Code: "not found"})
				}
			}
			s.end[0].Subscribe(s.now, Subscribe{Stream: "nothing"})
			s.run(t, 300*time.Millisecond)
		},
		"lost first flight": func(s *sim) {
			s.serveAll(1, 1)
			s.cut = true
			s.end[0].Subscribe(s.now, Subscribe{Stream: "live/one"})
			s.run(t, 10*time.Millisecond)
			s.cut = false
			s.run(t, 400*time.Millisecond)
		},
		"unsubscribe overtakes": func(s *sim) {
			s.run(t, 100*time.Millisecond)
			s.delay = 60 * time.Millisecond
			id := s.end[0].Subscribe(s.now, Subscribe{Stream: "live/one"})
			s.pump()
			s.delay = 10 * time.Millisecond
			s.end[0].Unsubscribe(s.now, id)
			s.run(t, 200*time.Millisecond)
		},
		"no common version": func(s *sim) {
			s.end[1] = New(s.now, Config{Hello: Hello{Min: 2, Max: 3, Node: "b"}})
			s.run(t, 300*time.Millisecond)
		},
		"dies while carrying": func(s *sim) {
			for _, c := range s.end {
				c.Carrying(s.now, true)
			}
			s.run(t, 300*time.Millisecond)
			s.cut = true
			s.run(t, time.Second)
		},
		"load": func(s *sim) {
			s.run(t, 100*time.Millisecond)
			s.end[0].SetLoad(0.25)
			s.run(t, 1200*time.Millisecond)
		},
		"call": func(s *sim) {
			for i, name := range []string{"a", "b"} {
				s.end[i] = New(s.now, Config{Hello: Hello{Min: 1, Max: 1, Node: name, Features: []string{FeatureCalls}}})
			}
			s.watch = func(side int, e Event) {
				switch q, ok := e.(Called); {
				case !ok:
				case string(q.Question) == "how are you?":
					s.end[side].Reply(s.now, q.ID, []byte("fine"))
				case string(q.Question) == "and who?":
					s.end[side].Fail(s.now, q.ID, Reason{Code: "forbidden", Text: "that is a secret"})
				}
			}
			s.run(t, 100*time.Millisecond)
			for _, q := range []string{"how are you?", "and who?", "and when?"} {
				s.end[0].Call(s.now, []byte(q))
			}
			s.run(t, 100*time.Millisecond)
			s.end[0].Cancel(s.now, 2)
			s.run(t, 100*time.Millisecond)
		},
		"call in chunks": func(s *sim) {
			for i, name := range []string{"a", "b"} {
				s.end[i] = New(s.now, Config{Hello: Hello{Min: 1, Max: 1, Node: name, Features: []string{FeatureCalls}}})
			}
			s.run(t, 100*time.Millisecond)
			s.end[0].Call(s.now, make([]byte, chunk+100))
			s.end[0].Subscribe(s.now, Subscribe{Stream: "live"})
			s.run(t, 100*time.Millisecond)
		},
		"goodbye": func(s *sim) {
			s.run(t, 100*time.Millisecond)
			s.end[1].Close(s.now, Reason{Code: "closed", Text: "for the night"})
			s.run(t, 100*time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			s := newSim(1)
			s.trace = func(line string) { b.WriteString(line + "\n") }
			play(s)
			file := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".txt")
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), b.String())
		})
	}
}
