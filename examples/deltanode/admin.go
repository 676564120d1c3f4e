package main

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"syscall"

	api "github.com/deltacdn/delta/cdn/admin"
	"github.com/deltacdn/delta/cdn/prom"
	"github.com/deltacdn/delta/internal/demo/web"
	"github.com/deltacdn/delta/signal"
)

// admin is the server for operators. A nil one is off.
type admin struct {
	listener net.Listener
	http     *http.Server
	work     sync.WaitGroup
}

// openAdmin opens the port for operators.
func (n *node) openAdmin() error {
	c := &n.config
	if c.Admin.Addr == "off" {
		return nil
	}
	l, err := net.Listen("tcp", c.Admin.Addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) && !c.IsSet("admin.http") {
			n.log.Warn("there is no listener for operators, since the default port is in use: set admin.http, or set it to off", "addr", c.Admin.Addr)
			return nil
		}
		return fmt.Errorf("%s: %w", c.Where("admin.http"), err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthy)
	mux.HandleFunc("GET /readyz", n.ready)
	mux.HandleFunc("GET /status", n.status)
	pages := web.Handler(n.adminPage)
	mux.Handle("GET /", pages)
	mux.Handle("GET /metrics", prom.Handler(prom.New(prom.Config{
		Node: n.node, Group: c.Node.Group, Edge: n.view, Origin: n.live, Server: n.server,
	})))
	if c.Admin.PProf {
		mux.Handle("GET /debug/pprof/", n.api.Protect(http.HandlerFunc(pprof.Index), true))
		mux.Handle("GET /debug/pprof/cmdline", n.api.Protect(http.HandlerFunc(pprof.Cmdline), true))
		mux.Handle("GET /debug/pprof/profile", n.api.Protect(http.HandlerFunc(pprof.Profile), true))
		mux.Handle("GET /debug/pprof/symbol", n.api.Protect(http.HandlerFunc(pprof.Symbol), true))
		mux.Handle("GET /debug/pprof/trace", n.api.Protect(http.HandlerFunc(pprof.Trace), true))
	}
	all := http.NewServeMux()
	all.Handle(api.Prefix+"/", n.api) // which has a guard of its own
	all.HandleFunc("GET /healthz", healthy)
	all.Handle("/", n.api.Protect(mux, false))
	if c.Admin.Token != "" { // which a browser cannot show before it has the console, that asks for it
		for _, path := range []string{"/{$}", "/assets/", "/status.json"} {
			all.Handle("GET "+path, pages)
		}
	}
	n.admin = &admin{listener: l, http: signal.ServerDefaults(&http.Server{Handler: all, ErrorLog: log.New(discard{}, "", 0)})}
	return nil
}

// openAPI makes the admin API, by which other nodes ask this one, too.
func (n *node) openAPI() (err error) {
	c := &n.config.Admin
	var tokens []api.Token
	if c.Token != "" {
		tokens = append(tokens, api.Token{Name: "operator", Secret: c.Token, Write: true})
	}
	if c.ReadToken != "" {
		tokens = append(tokens, api.Token{Name: "reader", Secret: c.ReadToken})
	}
	n.api, err = api.New(api.Config{
		Node: n.node, Origin: n.live, Relay: n.up, Server: n.server, Edge: n.view, Access: n.access,
		Version: shortVersion(), Tokens: tokens, Logger: n.log,
	})
	if err != nil {
		return err
	}
	if n.apiAtHTTP() {
		n.site.mux.Handle(api.Prefix+"/", n.api)
	}
	return nil
}

// apiAtHTTP reports whether the admin API answers at the pages' address, too. It takes a
// token there: a proxy may be in front that does not say so, and then everybody looks
// like a program on this machine.
func (n *node) apiAtHTTP() bool { return n.config.Admin.Pages && n.config.Admin.Token != "" }

func (a *admin) serve(failed chan<- error) {
	if a == nil {
		return
	}
	a.work.Go(func() { serveHTTP("the admin server", a.http.Serve, a.listener, failed) })
}

func (a *admin) close() {
	if a == nil {
		return
	}
	shutdown(a.http)
	_ = a.listener.Close()
	a.work.Wait()
}

// field is what the start line says of it.
func (a *admin) field() string {
	if a == nil {
		return ""
	}
	return " admin=http://" + a.listener.Addr().String()
}
