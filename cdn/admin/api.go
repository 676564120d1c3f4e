package admin

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/internal/strictjson"
)

//go:embed openapi.json
var description []byte

// An API shows and changes the network of a node. Its methods may be called
// concurrently. The node closes it when it is closed itself.
type API struct {
	config  Config
	node    *cdn.Node
	mux     *http.ServeMux
	guard   *guard
	network network
	own     own
	ledger  ledger
	ctx     context.Context // ends with the API
	cancel  context.CancelFunc

	changing sync.Mutex // held while limits are changed

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup
}

// New makes the API of a node. A node has one API at most.
func New(c Config) (*API, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, &cdn.Error{Op: "new admin API", Err: err}
	}
	a := &API{config: c, node: c.Node, mux: http.NewServeMux(), guard: newGuard(c)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	if err := a.network.init(a); err != nil {
		a.cancel()
		return nil, &cdn.Error{Op: "new admin API", Err: err}
	}
	a.ledger.init(c.Access)
	a.handle()
	if c.Access != nil {
		a.begin(a.keepUp)
	}
	a.node.Own(a)
	return a, nil
}

// Close ends what the API does and waits for it.
func (a *API) Close() error {
	a.network.calls.Handle(method, nil)
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	a.work.Wait()
	return nil
}

// begin has a goroutine of the API run f, and reports false if the API is closed.
func (a *API) begin(f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.work.Go(f)
	}
	return !a.closed
}

// handle makes the routes.
func (a *API) handle() {
	methods := map[string][]string{}
	for _, r := range routes {
		pattern := Prefix + r.path
		a.mux.HandleFunc(r.method+" "+pattern, func(w http.ResponseWriter, q *http.Request) { a.serve(w, q, r, q.PathValue("id")) })
		methods[pattern] = append(methods[pattern], r.method)
	}
	a.mux.HandleFunc(Prefix+streamsPath+"{rest...}", a.serveStream)
	a.mux.HandleFunc("GET "+Prefix+"/openapi.json", func(w http.ResponseWriter, q *http.Request) {
		if _, err := a.guard.admit(q, false); err != nil {
			writeProblem(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(description) // a client that is gone needs no answer
	})
	methods[Prefix+"/openapi.json"] = []string{"GET"}
	for pattern, known := range methods {
		allow := strings.Join(known, ", ")
		a.mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", allow)
			writeProblem(w, &refused{status: http.StatusMethodNotAllowed, code: "method", detail: "This address answers " + allow + "."})
		})
	}
	a.mux.HandleFunc("/", noResource)
}

const streamsPath = "/streams/"

// serveStream answers for a stream whose ID has a "/" that the client has not escaped.
func (a *API) serveStream(w http.ResponseWriter, q *http.Request) {
	rest := q.PathValue("rest")
	if at := strings.LastIndexByte(rest, '/'); at > 0 {
		for _, r := range routes {
			if r.method == q.Method && r.path == streamsPath+"{id}"+rest[at:] {
				a.serve(w, q, r, rest[:at])
				return
			}
		}
	}
	noResource(w, q)
}

func noResource(w http.ResponseWriter, _ *http.Request) {
	writeProblem(w, &refused{status: http.StatusNotFound, code: "no-resource", detail: "There is nothing at this address."})
}

// ServeHTTP answers at [Prefix]. Errors are problem details (RFC 9457).
//
// Where [Config].Tokens are set, each request needs one. Where none are, a request
// has to come from a loopback address and not through a proxy, and its Host has to be
// a loopback name or one of [Config].Hosts, so that no page of another site can have a
// browser send it by a name that leads here. Nothing that a page of another origin has
// a browser send is taken, and what changes something has to have the content type
// application/json or the header X-Delta-Request, which such a page cannot set.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	a.mux.ServeHTTP(w, r)
}

// serve answers by a route, of what has that ID.
func (a *API) serve(w http.ResponseWriter, q *http.Request, r route, id string) {
	by, err := a.guard.admit(q, r.writes)
	if err != nil {
		writeProblem(w, err)
		return
	}
	in := request{by: by, id: id, query: newOf(r.query), body: newOf(r.body)}
	if err := readQuery(q.URL.Query(), in.query); err != nil {
		writeProblem(w, err)
		return
	}
	if err := readBody(w, q, in.body); err != nil {
		writeProblem(w, err)
		return
	}
	answer, err := r.serve(a, q.Context(), in)
	if err != nil {
		writeProblem(w, err)
		return
	}
	write(w, r.status, "application/json", answer)
}

const (
	maxBody  = 64 << 10
	bodyTime = 10 * time.Second
)

// readBody reads the body of a request. An empty one leaves what into points to as it
// is.
func readBody(w http.ResponseWriter, q *http.Request, into any) error {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) // or it is a server without deadlines
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxBody))
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &refused{status: http.StatusRequestEntityTooLarge, code: "too-large", detail: "The body is too long."}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &refused{status: http.StatusRequestTimeout, code: "slow-body", detail: "The body did not arrive in time."}
	case err != nil:
		return &refused{status: http.StatusBadRequest, code: "broken-body", detail: "The body broke off."}
	case len(body) == 0:
		return nil
	case into == nil:
		return &refused{status: http.StatusBadRequest, code: "invalid", detail: "This operation takes no body."}
	}
	if !isJSON(q) {
		return &refused{status: http.StatusUnsupportedMediaType, code: "media-type", detail: "The body has to be application/json."}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if _, err := strictjson.Object(body); err != nil || d.Decode(into) != nil {
		return &refused{status: http.StatusBadRequest, code: "invalid", detail: "The body is not what this operation takes."}
	}
	return nil
}
