package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/internal/strictjson"
)

func TestObject(t *testing.T) {
	m, err := strictjson.Object([]byte(` {"a":1,"b":{"a":[{"a":2},[]]}} `))
	require.NoError(t, err)
	require.Equal(t, "1", string(m["a"]))
	require.Len(t, m, 2)
}

func TestRefused(t *testing.T) {
	for _, tc := range []struct{ name, in string }{
		{"nothing", ""},
		{"null", "null"},
		{"array", "[]"},
		{"string", `"x"`},
		{"number", "1"},
		{"torn", `{"a":1`},
		{"torn deep", `{"a":[{"b":`},
		{"two values", `{}{}`},
		{"rubbish behind", `{} x`},
		{"twice", `{"a":1,"a":2}`},
		{"twice escaped", `{"a":1,"\u0061":2}`},
		{"twice in another case", `{"allow":false,"Allow":true}`},
		{"twice deep", `{"a":[[{"b":1,"b":1}]]}`},
		{"no UTF-8", "{\"a\":\"\xff\"}"},
		{"deep", strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17)},
		{"very deep", `{"a":` + strings.Repeat("[", 1<<20)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := strictjson.Object([]byte(tc.in))
			require.Error(t, err)
			require.Less(t, len(err.Error()), 200)
		})
	}
}

// What is taken is an object to encoding/json, too, with as many members.
func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":[{"c":null}]}`))
	f.Add([]byte(`{"a":1,"A":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := strictjson.Object(data)
		if err != nil {
			return
		}
		var plain map[string]any
		require.NoError(t, json.Unmarshal(data, &plain))
		require.Len(t, m, len(plain))
	})
}

func TestMembers(t *testing.T) {
	m, err := strictjson.Object([]byte(`{"text":"a","long":"abcdef","lines":"a\nb","half":"\ud800","list":["a","b"],"mixed":["a",1],` +
		`"number":1.5,"huge":1e30,"null":null,"date":1800000000.5,"object":{},"empty":[]}`))
	require.NoError(t, err)
	var s string
	require.NoError(t, m.Text("text", 5, &s))
	require.Equal(t, "a", s)
	require.NoError(t, m.Text("absent", 5, &s))
	require.Equal(t, "a", s, "left as it was")
	for _, name := range []string{"long", "lines", "half", "list", "number", "null", "object"} {
		require.Error(t, m.Text(name, 5, &s), name)
		require.Equal(t, "a", s, name)
	}
	var list []string
	require.NoError(t, m.Texts("text", 5, &list))
	require.Equal(t, []string{"a"}, list)
	require.NoError(t, m.Texts("list", 5, &list))
	require.Equal(t, []string{"a", "b"}, list)
	require.NoError(t, m.Texts("empty", 5, &list))
	require.Empty(t, list)
	for _, name := range []string{"long", "mixed", "number", "null", "object"} {
		require.Error(t, m.Texts(name, 5, &list), name)
	}
	var n int
	require.NoError(t, m.Whole("number", 1, 2, &n))
	require.Equal(t, 1, n)
	for _, name := range []string{"text", "huge", "null", "list"} {
		require.Error(t, m.Whole(name, 0, 1e9, &n), name)
	}
	require.Error(t, m.Whole("number", 2, 3, &n))
	var at time.Time
	require.NoError(t, m.Time("absent", &at))
	require.Zero(t, at)
	require.NoError(t, m.Time("date", &at))
	require.Equal(t, time.Unix(1_800_000_000, 500_000_000), at)
	for _, name := range []string{"text", "huge", "null"} {
		require.Error(t, m.Time(name, &at), name)
	}
}
