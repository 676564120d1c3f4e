package problem

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// docs/problems.md has every code, and no other.
func TestCodesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/problems.md")
	require.NoError(t, err)
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ([0-9, ]+) \\|").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = row[2]
	}
	all := append([]kind(nil), ours...)
	for _, r := range reasons {
		all = append(all, r.kind)
	}
	known := map[string]bool{}
	for _, k := range all {
		known[k.code] = true
		require.Contains(t, documented[k.code], strconv.Itoa(k.status), k.code)
		require.Regexp(t, `^[A-Z].*\.$`, k.sentence, "a sentence for people")
	}
	for code := range documented {
		require.True(t, known[code], "%s is not used", code)
	}
}

// Every reason arrives at the other side as itself, whatever the status.
func TestReasonsArrive(t *testing.T) {
	for _, r := range reasons {
		for _, status := range []int{r.status, http.StatusConflict, http.StatusTeapot} {
			w := httptest.NewRecorder()
			Of(&cdn.Error{Op: "x", Err: r.err, RetryAfter: 1500 * time.Millisecond}).As(status).Write(w)
			resp := w.Result()
			resp.Request = httptest.NewRequest("POST", "http://node.example/", nil)
			err := Read("x", "live", resp, cdn.ErrInvalid)
			if r.code == "timeout" {
				require.ErrorIs(t, err, cdn.ErrTimeout)
			} else {
				require.ErrorIs(t, err, r.err)
			}
			var e *cdn.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, 2*time.Second, e.RetryAfter)
			require.Equal(t, cdn.NodeID("node.example"), e.Node)
		}
	}
}

// A status without a code counts as its class where it is not known (RFC 9725
// section 4.1: "generic n00 semantics").
func TestStatusesWithoutCode(t *testing.T) {
	for status, want := range map[int]error{
		300: cdn.ErrInvalid, 304: cdn.ErrInvalid, 400: cdn.ErrInvalid, 401: cdn.ErrUnauthorized, 403: cdn.ErrForbidden,
		404: cdn.ErrNotFound, 405: cdn.ErrUnsupported, 406: cdn.ErrUnsupported, 408: cdn.ErrInvalid, 409: cdn.ErrStale, 410: cdn.ErrEnded,
		415: cdn.ErrUnsupported, 418: cdn.ErrInvalid, 422: cdn.ErrNoCommonCodec, 429: cdn.ErrOverLimit, 499: cdn.ErrInvalid,
		500: cdn.ErrPeerLost, 501: cdn.ErrUnsupported, 502: cdn.ErrPeerLost, 503: cdn.ErrOverLimit, 504: cdn.ErrTimeout,
		508: cdn.ErrLoop, 599: cdn.ErrPeerLost,
	} {
		for _, body := range []string{"", "<html>", `{"code":"of another server"}`, strings.Repeat("x", 100<<10)} {
			w := httptest.NewRecorder()
			w.WriteHeader(status)
			_, _ = w.WriteString(body)
			resp := w.Result()
			resp.Request = httptest.NewRequest("POST", "/", nil)
			require.ErrorIs(t, Read("x", "live", resp, cdn.ErrStale), want, "%d", status)
		}
	}
}
