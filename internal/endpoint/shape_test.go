package endpoint

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A description is what it was, whatever its words are and wherever else they stand in it.
func TestShapesKeepDescriptions(t *testing.T) {
	const text = "v=0\r\no=- 12 2 IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefgh\r\na=ssrc:12 cname:x\r\na=ssrc:123 cname:x\r\n"
	many := make([]string, 40)
	for i := range many {
		many[i] = strconv.Itoa(i)
	}
	for name, words := range map[string][]string{
		"none":                  nil,
		"all":                   {"abcd", "abcdefgh", "x", "12", "123"},
		"one is part of others": {"a", "1", "", "0", "2"},
		"more than holes":       many,
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, text, newShape(text, words).with(words)) })
	}
	require.Empty(t, shape{}.with(nil))
	require.Equal(t, "a=msid:delta cam1\r\n", newShape("a=msid:delta cam\x001\r\n\x00", []string{"x"}).with([]string{"x"}), "a hole in the text is none")
}

// Descriptions that differ in their words have one shape, and so one string.
func TestShapesAreShared(t *testing.T) {
	const text = "a=ice-ufrag:UFRAG\r\na=ice-pwd:PWD\r\na=ssrc:SSRC cname:CNAME\r\n"
	shapeOf := func(words ...string) (shape, string, []string) {
		own := strings.NewReplacer("UFRAG", words[0], "PWD", words[1], "SSRC", words[2], "CNAME", words[3]).Replace(text)
		return newShape(own, words), own, words
	}
	a, textOfA, wordsOfA := shapeOf("onefrag", "onepassword", "1234567890", "ONE")
	b, textOfB, wordsOfB := shapeOf("twofrag", "twopassword", "77", "TWO")
	require.Equal(t, a, b)
	require.Equal(t, textOfA, b.with(wordsOfA))
	require.Equal(t, textOfB, a.with(wordsOfB))
}
