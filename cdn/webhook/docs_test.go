package webhook_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/webhook"
)

// docs/webhooks.md shows what receivers get, for each type, and has every member.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/webhooks.md")
	require.NoError(t, err)
	examples := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)\n### (\\w+)\n.*?```json\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		examples[m[1]] = m[2]
	}
	require.Len(t, examples, len(webhook.Types))
	for typ, body := range sentForDocs(t) {
		require.JSONEq(t, examples[typ], body, typ)
	}
	for _, in := range []reflect.Type{reflect.TypeFor[webhook.Message](), reflect.TypeFor[webhook.Data]()} {
		for i := range in.NumField() {
			name, _, _ := strings.Cut(in.Field(i).Tag.Get("json"), ",")
			if in == reflect.TypeFor[webhook.Data]() {
				name = "data." + name
			}
			if name != "data" {
				require.Contains(t, string(text), "`"+name+"`", "the table")
			}
		}
	}
}

// sentForDocs returns the bodies of the examples, as a receiver gets them.
func sentForDocs(t *testing.T) map[string]string {
	bodies := map[string]string{}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2027, 1, 15, 8, 0, 0, 250_000_000, time.UTC)))
		r := newReceiver(t)
		s := sender(t, r, func(c *webhook.Config) { c.Queue = 1 })
		send := func(e cdn.Event) {
			s.Event(e)
			synctest.Wait()
			got := r.take()
			require.Len(t, got, 1)
			var typ struct{ Type string }
			require.NoError(t, json.Unmarshal(got[0].body, &typ))
			bodies[typ.Type] = string(got[0].body)
		}
		ann := cdn.SessionStarted{
			Stream: "live/a", Action: cdn.ActionPublish, Session: "H4H7HQYL", Subject: "ann", Grant: "ann-1", Tag: "acme", RemoteAddr: "203.0.113.7:50000",
		}
		send(ann)
		send(cdn.SessionEnded{
			Stream: "live/a", Action: cdn.ActionPublish, Session: "H4H7HQYL", Subject: "ann", Grant: "ann-1", Tag: "acme",
			Lasted: 61*time.Second + 500*time.Millisecond, Err: fmt.Errorf("bye: %w", cdn.ErrLeft),
		})
		send(cdn.ViewerSlow{Stream: "live/a", Session: "7Q2MZKXA", Tag: "acme", Layer: "l"})
		// The queue holds one: while that is on its way, three are dropped.
		release := make(chan struct{})
		r.answers(func(http.ResponseWriter, *http.Request, webhook.Message) int {
			<-release
			return http.StatusOK
		})
		s.Event(ann)
		synctest.Wait()
		for range 3 {
			s.Event(ann)
		}
		close(release)
		synctest.Wait()
		r.take()
		send(cdn.SessionStarted{Stream: "live/a", Action: cdn.ActionPlay, Session: "7Q2MZKXA", RemoteAddr: "203.0.113.8:50001"})
	})
	return bodies
}
