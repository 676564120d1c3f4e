package config

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the reference in docs/deltanode.md anew")

const document = "../../../docs/deltanode.md"

// The reference in docs is what the program knows.
func TestReference(t *testing.T) {
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	var tables bytes.Buffer
	WriteReference(&tables)
	begin, rest, ok := strings.Cut(string(text), "<!-- settings -->\n")
	require.True(t, ok)
	_, end, ok := strings.Cut(rest, "<!-- end -->")
	require.True(t, ok)
	want := begin + "<!-- settings -->\n" + tables.String() + "\n<!-- end -->" + end
	if *update {
		require.NoError(t, os.WriteFile(document, []byte(want), 0o600))
	}
	require.Equal(t, want, string(text), "go -C examples/deltanode test ./config -run Reference -update")
}

// What docs say elsewhere of settings is true.
func TestExample(t *testing.T) {
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		_, err := parseFile("docs", []byte(block[1]))
		require.NoError(t, err)
	}
}

func TestHelp(t *testing.T) {
	var out bytes.Buffer
	WriteHelp(&out)
	for _, o := range options {
		require.Contains(t, out.String(), "  -"+o.Flag())
	}
}
