package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/deltacdn/delta/cdn"
)

// pressed notes which buttons were.
type pressed []string

func (p *pressed) Kill(node string) error {
	if node == "self" {
		return errors.New("not from here")
	}
	*p = append(*p, "kill "+node)
	return nil
}

func (p *pressed) Restore(node string) error {
	*p = append(*p, "restore "+node)
	if node == "alive" {
		return fmt.Errorf("%w: it runs", cdn.ErrNotFound)
	}
	return nil
}

func TestSwitches(t *testing.T) {
	const here, there = "127.0.0.1:5000", "192.0.2.7:5000"
	for name, test := range map[string]struct {
		method, target, host, from, origin, site string
		forwarded                                string // a header
		anywhere                                 bool
		code                                     int
	}{
		"from the page":                 {target: "/kill?node=a", code: 204},
		"restore":                       {target: "/restore?node=a", code: 204},
		"as localhost":                  {target: "/kill?node=a", host: "localhost:8080", code: 204},
		"over IPv6":                     {target: "/kill?node=a", host: "[::1]:8080", from: "[::1]:5000", code: 204},
		"without a browser":             {target: "/kill?node=a", origin: "-", code: 204},
		"not to be had":                 {target: "/restore?node=alive", code: 404},
		"itself":                        {target: "/kill?node=self", code: 409},
		"GET":                           {method: "GET", target: "/kill?node=a", code: 405},
		"HEAD":                          {method: "HEAD", target: "/restore?node=a", code: 405},
		"from another site":             {target: "/kill?node=a", origin: "http://example.com", code: 403},
		"from another port":             {target: "/kill?node=a", origin: "http://127.0.0.1:9000", code: 403},
		"from a sandbox":                {target: "/kill?node=a", origin: "null", code: 403},
		"cross-site by its own word":    {target: "/kill?node=a", site: "cross-site", code: 403},
		"by a name that leads here":     {target: "/kill?node=a", host: "evil.example:8080", origin: "http://evil.example:8080", code: 403},
		"from elsewhere":                {target: "/kill?node=a", from: there, code: 403},
		"through a proxy here":          {target: "/kill?node=a", forwarded: "X-Forwarded-For", code: 403},
		"through a standard proxy here": {target: "/kill?node=a", forwarded: "Forwarded", code: 403},
		"through any proxy here":        {target: "/kill?node=a", forwarded: "X-Forwarded-Proto", code: 403},
		"through a proxy, allowed":      {target: "/kill?node=a", forwarded: "X-Forwarded-For", anywhere: true, code: 204},
		"from elsewhere, allowed":       {target: "/kill?node=a", from: there, anywhere: true, code: 204},
		"elsewhere, from another site":  {target: "/kill?node=a", from: there, anywhere: true, origin: "http://example.com", code: 403},
		"elsewhere, another subdomain":  {target: "/kill?node=a", from: there, anywhere: true, site: "same-site", code: 403},
		"elsewhere, with GET and leave": {method: "GET", target: "/kill?node=a", from: there, anywhere: true, code: 405},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pressed{}
			set := func(v *string, otherwise string) {
				if *v == "" {
					*v = otherwise
				}
			}
			set(&test.method, http.MethodPost)
			set(&test.host, "127.0.0.1:8080")
			set(&test.from, here)
			set(&test.origin, "http://"+test.host)
			r := httptest.NewRequest(test.method, test.target, nil)
			r.Host, r.RemoteAddr = test.host, test.from
			if test.origin != "-" {
				r.Header.Set("Origin", test.origin)
			}
			if test.site != "" {
				r.Header.Set("Sec-Fetch-Site", test.site)
			}
			if test.forwarded != "" {
				r.Header.Set(test.forwarded, "127.0.0.1")
			}
			w := httptest.NewRecorder()
			Switches(p, test.anywhere).ServeHTTP(w, r)
			assert.Equal(t, test.code, w.Code, w.Body)
			assert.Equal(t, test.code == 204 || test.code == 404, len(*p) == 1)
		})
	}
}
