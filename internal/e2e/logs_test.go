package delta_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// docs/logs.md has every attribute that the library logs: so that one thing does not get
// two names.
func TestDocumentedLogAttributes(t *testing.T) {
	text, err := os.ReadFile("../../docs/logs.md")
	require.NoError(t, err)
	documented := map[string]bool{}
	for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(string(text), -1) {
		documented[name[1]] = true
	}
	for _, dir := range []string{"cdn", "origin", "relay", "edge", "signal", "internal"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("../..", dir), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && has(filepath.Join(path, "go.mod")): // a module of its own
				return filepath.SkipDir
			case d.IsDir() && path == "../../internal/demo": // the examples' own
				return filepath.SkipDir
			case d.IsDir(), !strings.HasSuffix(path, ".go"), strings.HasSuffix(path, "_test.go"), strings.Contains(path, "cdntest"):
				return nil
			}
			for at, key := range logKeys(t, path) {
				assert.True(t, documented[key], "%s: docs/logs.md does not have the attribute %q", at, key)
			}
			return nil
		}))
	}
}

func has(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// logKeys returns the attributes of a file's log lines, and where they are.
func logKeys(t *testing.T, path string) map[string]string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	require.NoError(t, err)
	keys := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		first := map[string]int{"With": 0, "Debug": 1, "Info": 1, "Warn": 1, "Error": 1}
		from, ok := first[method.Sel.Name]
		if !ok || from == 1 && len(call.Args) > 0 && literal(call.Args[0]) == "" {
			return true
		}
		for i := from; i < len(call.Args); i += 2 {
			if key := literal(call.Args[i]); key != "" {
				keys[files.Position(call.Args[i].Pos()).String()] = key
			}
		}
		return true
	})
	return keys
}

func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	text, _ := strconv.Unquote(lit.Value) // the parser has read it
	return text
}

// loggedWorld is a world whose nodes log all that happens, and note what they are told.
type loggedWorld struct {
	*world
	books map[string]*logBook
	told  map[string]*[]cdn.Event
}

func (w *loggedWorld) logged(name string) func(*cdn.Config) {
	book, told := &logBook{}, &[]cdn.Event{}
	w.books[name], w.told[name] = book, told
	logger := slog.New(slog.NewTextHandler(book, &slog.HandlerOptions{Level: slog.LevelInfo}))
	log := cdn.LogEvents(logger.With("node", name))
	return func(c *cdn.Config) {
		c.Logger = logger
		c.OnEvent = func(e cdn.Event) {
			book.mu.Lock()
			*told = append(*told, e)
			book.mu.Unlock()
			log(e)
		}
	}
}

// line returns what the line of an event has; "" for those that have none.
func line(e cdn.Event) []string {
	switch e := e.(type) {
	case cdn.LinkUp:
		return []string{`msg="link up"`, fmt.Sprint("peer=", e.Node)}
	case cdn.LinkDown:
		return []string{`msg="link down"`, fmt.Sprint("peer=", e.Node), "lasted=", "err="}
	case cdn.StreamStarted:
		return []string{`msg="stream started"`, fmt.Sprint("stream=", e.Stream)}
	case cdn.StreamEnded:
		return []string{`msg="stream ended"`, fmt.Sprint("stream=", e.Stream)}
	case cdn.SessionStarted:
		return []string{`msg="session started"`, fmt.Sprint("session=", e.Session)}
	case cdn.SessionEnded:
		return []string{`msg="session ended"`, fmt.Sprint("session=", e.Session)}
	case cdn.UpstreamChanged:
		return []string{`msg="stream comes from another node"`, fmt.Sprint("url=", e.URL)}
	case cdn.InputChanged:
		return []string{`msg="stream input changed"`}
	case cdn.ViewerSlow:
		return []string{`msg="viewer is slow"`, fmt.Sprint("session=", e.Session)}
	}
	return nil
}

// One event, one line: nodes come up, a viewer plays, a relay is killed, another one
// leaves, and all go down. There is a line for each event and none for anything else but
// what is no event.
func TestOneEventOneLine(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := &loggedWorld{newWorld(t), map[string]*logBook{}, map[string]*[]cdn.Event{}}
		path := cdntest.Path{Delay: ms(10)}
		o := w.origin("o", path, origin.Config{}, w.logged("o"))
		relays := make([]*node, 2)
		for i, name := range []string{"r1", "r2"} {
			relays[i] = w.node(name, path, w.logged(name))
			w.fetch(relays[i], o)
			w.serveNodes(relays[i], relays[i].relay)
		}
		e := w.node("e", path, w.logged("e"))
		w.fetch(e, relays...)
		w.serveViewers(e, e.relay, edge.Config{})
		p := w.publish(o, "live", path, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v := w.view(e, "live", "viewer", path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))

		w.kill(relays[0])
		require.NoError(t, relays[0].Close())
		time.Sleep(5 * time.Second)
		again := w.node("r1 again", path, w.logged("r1 again"), func(c *cdn.Config) { c.ID = "r1" })
		w.fetch(again, o)
		again.server, _ = relay.NewServer(again.Node, again.relay)
		w.dialer.Handle(relays[0].url()+relay.Prefix, again.server)
		time.Sleep(20 * time.Second)
		require.NoError(t, relays[1].Drain(w.within(10*time.Second)))
		require.NoError(t, relays[1].Close())
		time.Sleep(5 * time.Second)
		require.NoError(t, v.Close())
		require.NoError(t, p.Stop(w.within(5*time.Second)))
		time.Sleep(20 * time.Second)
		for _, n := range []*node{again, e, o} {
			require.NoError(t, n.Close())
		}
		synctest.Wait()
		kinds := map[string]int{}
		for name, book := range w.books {
			lines := book.having("level=INFO")
			for _, e := range *w.told[name] {
				want := line(e)
				if want == nil {
					continue
				}
				kinds[want[0]]++
				found := false
				for i, l := range lines {
					if contains(l, want) {
						lines = append(lines[:i], lines[i+1:]...)
						found = true
						break
					}
				}
				require.True(t, found, "%s: no line for %#v", name, e)
			}
			for _, left := range lines {
				require.Regexp(t, `msg="(another node is leaving|a fetch broke off|a trouble with another node is over|a stream stays where it comes from)"`, left, "%s: a line of no event", name)
			}
			for _, l := range book.having("") {
				require.Contains(t, l, "node=", name)
			}
		}
		for _, kind := range []string{"link up", "link down", "stream started", "stream ended", "session started", "session ended", "stream comes from another node"} {
			require.NotZero(t, kinds[`msg="`+kind+`"`], kind)
		}
	})
}

func contains(text string, all []string) bool {
	for _, one := range all {
		if !strings.Contains(text, one) {
			return false
		}
	}
	return true
}
