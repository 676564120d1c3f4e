package problem

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
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

// docs/troubleshooting.md quotes what clients are told.
func TestSentencesAreQuoted(t *testing.T) {
	text, err := os.ReadFile("../../../docs/troubleshooting.md")
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| [^|]+ \\| `([a-z-]+)`, ([0-9]+): ([^|]+) \\|").FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(rows), 7)
	for _, row := range rows {
		at := slices.IndexFunc(reasons, func(r reason) bool { return r.code == row[1] })
		require.GreaterOrEqual(t, at, 0, row[1])
		require.Equal(t, reasons[at].sentence, row[3])
		if row[1] != "not-found" { // for players it has a status of its own
			require.Equal(t, strconv.Itoa(reasons[at].status), row[2], row[1])
		}
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

// Who is refused for a limit is told which.
func TestLimitsAreNamed(t *testing.T) {
	err := &cdn.Error{Op: "play", Stream: "live", Err: &cdn.LimitError{Name: "stream_viewers", Limit: 7}}
	w := httptest.NewRecorder()
	Of(err).Write(w)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), `"code":"over-limit"`)
	require.Contains(t, w.Body.String(), "its limit stream_viewers is reached")
	require.NotContains(t, w.Body.String(), "7", "the number is for the log")
}
