package natsdir

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func TestParts(t *testing.T) {
	lines := func(lengths ...int) (all [][]byte) {
		for _, n := range lengths {
			all = append(all, bytes.Repeat([]byte{'x'}, n))
		}
		return all
	}
	for name, tc := range map[string]struct {
		lines [][]byte
		want  []int // lines of each part
	}{
		"nothing":        {nil, nil},
		"one":            {lines(10), []int{1}},
		"all in one":     {lines(30, 30, 37), []int{3}},
		"a byte more":    {lines(30, 30, 38), []int{2, 1}},
		"each alone":     {lines(60, 60, 60), []int{1, 1, 1}},
		"longer than it": {lines(10, 200, 10), []int{1, 1, 1}},
	} {
		var got []int
		for _, part := range parts(tc.lines, 100) {
			got = append(got, len(part))
		}
		assert.Equal(t, tc.want, got, name)
	}
}

func FuzzControl(f *testing.F) {
	for _, text := range []string{
		`{"v":1,"ask":{"from":"A","new":true}}`, `{"v":1,"ask":{"from":"A","have":["B","C"]}}`,
		`{"v":1,"answer":{"from":"A","part":1,"of":2}}`, `{"v":1,"answer":{"from":"A","part":3,"of":2}}`, `{"v":2}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeControl(b)
		if err != nil {
			code := cdn.ErrorCode(err)
			require.True(t, code == "invalid" || code == "unsupported", code)
			require.Zero(t, c)
			return
		}
		again, err := decodeControl(c.encode())
		require.NoError(t, err)
		require.Equal(t, string(c.encode()), string(again.encode()))
		require.False(t, strings.ContainsAny(c.from(), " .*>\r\n"), "a token of a subject")
	})
}

func (c control) from() string {
	if c.Ask != nil {
		return c.Ask.From
	}
	return c.Answer.From
}
