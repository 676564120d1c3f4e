package turn_test

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what TURN servers expect
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/turn"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

func TestCredentials(t *testing.T) {
	username, password := turn.Credentials("north", "ada", time.Unix(1433895918, 0))
	require.Equal(t, "1433895918:ada", username)
	// What `printf %s 1433895918:ada | openssl dgst -sha1 -hmac north -binary | base64` prints.
	require.Equal(t, "KJ5PTMBeGkZIwdEVUss3BPdY8wE=", password)
	username, _ = turn.Credentials("north", "", time.Unix(1433895918, 0))
	require.Equal(t, "1433895918", username)
}

func TestServersInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers, err := turn.New(turn.Config{URLs: []string{"turn:turn.example.com:3478", "turns:turn.example.com"}, Secret: "s", User: "u", TTL: time.Hour})
		require.NoError(t, err)
		require.Empty(t, servers(t.Context(), signal.ICERequest{Stream: "a"}), "nobody knows who that is")
		for range 2 {
			got := servers(t.Context(), signal.ICERequest{Stream: "a", Admitted: true})
			require.Len(t, got, 1)
			require.Len(t, got[0].URLs, 2)
			expires, user, _ := strings.Cut(got[0].Username, ":")
			require.Equal(t, "u", user)
			require.Equal(t, strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10), expires)
			mac := hmac.New(sha1.New, []byte("s"))
			_, _ = fmt.Fprint(mac, got[0].Username)
			require.Equal(t, base64.StdEncoding.EncodeToString(mac.Sum(nil)), got[0].Credential)
			time.Sleep(time.Minute)
		}
	})
}

func TestUnsoundServers(t *testing.T) {
	urls := []string{"turn:turn.example.com"}
	for _, c := range []turn.Config{
		{},
		{URLs: urls},
		{Secret: "s"},
		{Secret: "s", URLs: []string{"stun:turn.example.com"}},
		{Secret: "s", URLs: []string{"turn.example.com"}},
		{Secret: "s", URLs: []string{"turn:a b"}},
		{Secret: "s", URLs: urls, User: "a:b"},
		{Secret: "s", URLs: urls, User: "ü"},
	} {
		_, err := turn.New(c)
		require.ErrorIs(t, err, cdn.ErrInvalid, "%+v", c)
	}
}

// Who is told of servers, in both protocols: RFC 9725 section 4.6.
func TestLinksOverHTTP(t *testing.T) {
	const static, secret = `<stun:stun.example.com>; rel="ice-server"`, `<turn:old.example.com>; rel="ice-server"; username="u"; credential="c"; credential-type="password"`
	servers, err := turn.New(turn.Config{URLs: []string{"turn:turn.example.com"}, Secret: "s"})
	require.NoError(t, err)
	for name, handler := range map[string]func(*cdntest.ScriptedHandler) (http.Handler, error){
		"/whip/": func(h *cdntest.ScriptedHandler) (http.Handler, error) {
			return whip.New(h, whip.Config{ICEServers: []string{static, secret}, ICEServersFor: servers})
		},
		"/whep/": func(h *cdntest.ScriptedHandler) (http.Handler, error) {
			return whep.New(h, whep.Config{ICEServers: []string{static, secret}, ICEServersFor: servers})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := handler(&cdntest.ScriptedHandler{})
			require.NoError(t, err)
			ask := func(method, body string, header ...string) http.Header {
				r := httptest.NewRequest(method, name+"live", strings.NewReader(body))
				for i := 0; i < len(header); i += 2 {
					r.Header.Set(header[i], header[i+1])
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				require.Less(t, w.Code, 300)
				return w.Header()
			}
			links := func(h http.Header) (all []string) {
				for _, l := range h.Values("Link") {
					if strings.Contains(l, "ice-server") {
						all = append(all, l)
					}
				}
				return all
			}
			const method, headers = "Access-Control-Request-Method", "Access-Control-Request-Headers"
			created := ask("POST", "v=0\r\n", "Content-Type", "application/sdp")
			got := links(created)
			require.Len(t, got, 3)
			require.Equal(t, []string{static, secret}, got[:2])
			require.Regexp(t, `^<turn:turn\.example\.com>; rel="ice-server"; username="\d+:delta"; credential="[A-Za-z0-9+/]{27}="; credential-type="password"$`, got[2])
			require.Equal(t, "no-store", created.Get("Cache-Control"))

			require.Equal(t, []string{static}, links(ask("OPTIONS", "")), "what needs no credential is for anybody")
			require.Empty(t, links(ask("OPTIONS", "", method, "POST", headers, "authorization, content-type")), "a preflight")
			require.Empty(t, links(ask("OPTIONS", "", method, "OPTIONS", headers, "link")))
			asked := ask("OPTIONS", "", method, "POST", headers, "content-type, link")
			require.Equal(t, []string{static}, links(asked))
			require.Contains(t, asked.Get("Access-Control-Allow-Headers"), "Link")
		})
	}
}
