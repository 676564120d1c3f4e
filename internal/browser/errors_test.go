package browser

import (
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/stretchr/testify/assert"
)

// The browser's own lines about requests that were refused or not answered.
var (
	// lost is for tests that end a node under a page.
	lost = regexp.MustCompile(`^Failed to load resource: net::ERR_(CONNECTION_(REFUSED|RESET|ABORTED|CLOSED)|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING|NETWORK_CHANGED|TIMED_OUT)$`)
	// refused is for tests in which a server refuses a session, or has ended one.
	refused = regexp.MustCompile(`^Failed to load resource: the server responded with a status of (401|403|404|409|410|422|503) `)
)

// An errorLog collects what pages log as errors. No test may leave any behind but those
// that it allows, of requests that it makes fail.
type errorLog struct {
	mu      sync.Mutex
	allowed []*regexp.Regexp // of lines about requests
	lines   []string
}

// allow lets the browser log that requests fail in one of these ways.
func (l *errorLog) allow(patterns ...*regexp.Regexp) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.allowed = append(l.allowed, patterns...)
}

// listener returns a listener for the events of the page at url.
func (l *errorLog) listener(url string) func(any) {
	return func(event any) {
		line, request := errorOf(event)
		if line == "" {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, pattern := range l.allowed {
			if request && pattern.MatchString(line) {
				return
			}
		}
		l.lines = append(l.lines, url+": "+line)
	}
}

// take returns the lines since it was called last.
func (l *errorLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// errorOf returns the error that an event of a page is, "" if it is none, and whether it
// is the browser's own line about a request that failed.
func errorOf(event any) (line string, request bool) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		line = e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			line += " " + x.Description + string(x.Value)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError && e.Type != runtime.ConsoleAPICalledTypeAssert {
			return "", false
		}
		words := []string{"console.error:"}
		for _, a := range e.Args {
			words = append(words, string(a.Value)+a.Description)
		}
		line = strings.Join(words, " ")
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelError {
			return "", false
		}
		line = e.Entry.Text
		if e.Entry.Source == log.EntrySourceNetwork {
			return line, true
		}
		line += " " + e.Entry.URL
	}
	return line, false
}

// Each kind of error is noticed: a rule that cannot fail is worth nothing.
func TestErrorsOfPagesAreNoticed(t *testing.T) {
	n := startThreenode(t, "-demo=false")
	b := newBrowser(t)
	p := b.open(n.edge1 + "/")
	p.waitState("live")
	for name, test := range map[string]struct{ code, line string }{
		"an exception":         {`setTimeout(() => { throw new Error("of mine"); })`, "of mine"},
		"a rejected promise":   {`void Promise.reject(new Error("rejected"))`, "rejected"},
		"console.error":        {`console.error("said")`, "said"},
		"a script from inside": {`document.body.append(Object.assign(document.createElement("script"), {textContent: "1"}))`, "Content Security Policy"},
		"a picture elsewhere":  {`document.body.append(Object.assign(new Image(), {src: "http://127.0.0.1:1/x.png"}))`, "Content Security Policy"},
		"a module is missing":  {`document.head.append(Object.assign(document.createElement("script"), {type: "module", src: "/assets/none.js"}))`, "404"},
		"a request fails":      {`void fetch("/nothing")`, "404"},
	} {
		eval[any](p, test.code)
		var lines []string
		assert.Eventually(t, func() bool {
			lines = append(lines, b.errors.take()...)
			return strings.Contains(strings.Join(lines, "\n"), test.line)
		}, 5*time.Second, 10*time.Millisecond, name)
	}
	time.Sleep(100 * time.Millisecond) // some are told of twice
	b.errors.take()

	b.errors.allow(refused)
	eval[any](p, `fetch("/nothing").then(() => console.error("the server responded with a status of 404 "))`)
	var lines []string
	assert.Eventually(t, func() bool {
		lines = append(lines, b.errors.take()...)
		return len(lines) > 0
	}, 5*time.Second, 10*time.Millisecond)
	assert.Len(t, lines, 1)
	assert.Contains(t, lines[0], "console.error", "what is allowed is the browser's own line only")
}
