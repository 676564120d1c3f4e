package hookauth_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/hookauth"
)

// A schema of docs/auth-tokens.md, as far as the test looks at it.
type schema struct {
	Title      string                     `json:"title"`
	Required   []string                   `json:"required"`
	Properties map[string]json.RawMessage `json:"properties"`
}

// docs/auth-tokens.md shows what a node asks and what it understands, with schemas that
// have all the members.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/auth-tokens.md")
	require.NoError(t, err)
	schemas, grants, refusals, questions := map[string]schema{}, 0, 0, 0
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(block[1]), &members), block[1])
		switch {
		case members["$schema"] != nil:
			var s schema
			require.NoError(t, json.Unmarshal([]byte(block[1]), &s))
			schemas[s.Title] = s
		case members["allow"] != nil:
			a, err := hookauth.ParseAnswer([]byte(block[1]))
			require.NoError(t, err)
			if a.Allow {
				grants++
				require.Equal(t, "order-4711", a.ID)
			} else {
				refusals++
				require.NotEmpty(t, a.Detail)
			}
		default:
			questions++
			require.JSONEq(t, block[1], asked(t))
		}
	}
	require.Equal(t, []int{1, 1, 1}, []int{grants, refusals, questions})
	fields := []string{}
	for f := range reflect.TypeFor[hookauth.Question]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, name)
	}
	require.ElementsMatch(t, fields, slices.Collect(maps.Keys(schemas["question"].Properties)))
	require.ElementsMatch(t, []string{"peer"}, slices.DeleteFunc(fields, func(f string) bool { return slices.Contains(schemas["question"].Required, f) }))

	// Each member that the answer's schema has is looked at: a wrong type is refused.
	answer := schemas["answer"]
	require.Equal(t, []string{"allow"}, answer.Required)
	require.Len(t, answer.Properties, reflect.TypeFor[hookauth.Answer]().NumField())
	for name := range answer.Properties {
		wrong, err := json.Marshal(map[string]any{"allow": true, name: []int{}})
		require.NoError(t, err)
		_, err = hookauth.ParseAnswer(wrong)
		require.ErrorContains(t, err, name)
	}
}

// asked returns the question that the docs show, as the hook gets it.
func asked(t *testing.T) string {
	var body []byte
	s := transport(func(r *http.Request) (*http.Response, error) {
		body, _ = io.ReadAll(r.Body)
		return answerOf(r, `{"allow":true}`), nil
	})
	a := authorizer(t, hookauth.Config{URL: "https://hook.example", Node: "edge-1", Transport: s})
	_, err := a.Authorize(t.Context(), cdn.AuthRequest{
		Action: cdn.ActionPlay, Stream: "live/a", Credential: "the bearer token", RemoteAddr: "203.0.113.7:50000", Query: url.Values{"lang": {"en"}},
	})
	require.NoError(t, err)
	return string(body)
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
