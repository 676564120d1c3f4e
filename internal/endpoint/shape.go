package endpoint

import (
	"strings"
	"unique"
)

// A shape is a description in which holes stand for the words that no other session has. Those
// of clients that offer the same are one string in memory, however many sessions they have.
type shape struct{ text unique.Handle[string] }

const (
	// hole is followed by a byte that says which word belongs there, from 1 on. SDP has no such
	// character.
	hole = "\x00"
	// mostHoles keeps that byte below ' ', so that no later word is found in it. Further words
	// stay in the text.
	mostHoles = ' ' - 1
)

func newShape(text string, words []string) shape {
	text = strings.ReplaceAll(text, hole, "")
	for i, w := range words[:min(len(words), mostHoles)] {
		if w != "" {
			text = strings.ReplaceAll(text, w, hole+string(rune(i+1)))
		}
	}
	return shape{unique.Make(text)}
}

// with returns the description with its words.
func (s shape) with(words []string) string {
	if s == (shape{}) {
		return ""
	}
	var b strings.Builder
	for i, part := range strings.Split(s.text.Value(), hole) {
		if i > 0 {
			b.WriteString(words[part[0]-1])
			part = part[1:]
		}
		b.WriteString(part)
	}
	return b.String()
}
