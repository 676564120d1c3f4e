package cdn_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// reasons are the exported ones, by their names.
var reasons = map[string]error{
	"ErrNotFound": cdn.ErrNotFound, "ErrAlreadyPublishing": cdn.ErrAlreadyPublishing, "ErrNoCommonCodec": cdn.ErrNoCommonCodec,
	"ErrUnauthorized": cdn.ErrUnauthorized, "ErrExpired": cdn.ErrExpired, "ErrForbidden": cdn.ErrForbidden, "ErrOverLimit": cdn.ErrOverLimit, "ErrDraining": cdn.ErrDraining,
	"ErrInvalid": cdn.ErrInvalid, "ErrTimeout": cdn.ErrTimeout, "ErrClosed": cdn.ErrClosed, "ErrLeft": cdn.ErrLeft,
	"ErrEnded": cdn.ErrEnded, "ErrSuperseded": cdn.ErrSuperseded, "ErrPeerLost": cdn.ErrPeerLost, "ErrTooSlow": cdn.ErrTooSlow,
	"ErrLoop": cdn.ErrLoop, "ErrStale": cdn.ErrStale, "ErrUnsupported": cdn.ErrUnsupported, "ErrUpstream": cdn.ErrUpstream,
	"ErrUnavailable": cdn.ErrUnavailable,
}

// Every reason has a code of its own, and comes back from it as itself, whatever
// is wrapped around it.
func TestErrorCodes(t *testing.T) {
	seen := map[string]string{}
	for name, reason := range reasons {
		code := cdn.ErrorCode(&cdn.Error{Op: "x", Err: fmt.Errorf("%w: said so", reason)})
		require.Regexp(t, regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`), code)
		require.Empty(t, seen[code], "%s and %s", name, seen[code])
		seen[code] = name
		require.Equal(t, reason, cdn.ErrorFor(code), name)
	}
	require.Equal(t, "timeout", cdn.ErrorCode(context.DeadlineExceeded))
	require.Equal(t, "closed", cdn.ErrorCode(cdn.ErrClosed), "and not that a client has left")
	require.ErrorIs(t, cdn.ErrLeft, net.ErrClosed)
}

// What is not known keeps being an error.
func TestUnknownErrorCodes(t *testing.T) {
	require.Empty(t, cdn.ErrorCode(nil))
	require.NoError(t, cdn.ErrorFor(""))
	require.Equal(t, "failed", cdn.ErrorCode(errors.New("the database password is swordfish")))
	for _, code := range []string{"failed", "of a newer version", strings.Repeat("x", 1000)} {
		err := cdn.ErrorFor(code)
		require.ErrorIs(t, err, cdn.ErrPeerLost)
		require.Less(t, len(err.Error()), 100)
	}
}

// The list above has all the reasons that package cdn exports.
func TestErrorCodesAreComplete(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	require.NoError(t, err)
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			for _, name := range spec.Names {
				if strings.HasPrefix(name.Name, "Err") {
					found++
					require.Contains(t, reasons, name.Name)
				}
			}
		}
		return true
	})
	require.Len(t, reasons, found)
}
