package relay

import (
	"errors"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link"
	"github.com/deltacdn/delta/internal/trouble"
)

// report logs the misconfiguration of an entry's node that is behind err, if one is, or
// that the node is well (nil).
func report(links *link.Links, from cdn.Entry, err error, args ...any) {
	args = append([]any{"url", from.Place()}, args...)
	if from.Node != "" {
		args = append(args, "peer", string(from.Node))
	}
	switch t, known := trouble.Of(err); {
	case err == nil:
		links.Troubles().Well(from.Place(), args...)
	case known && errors.Is(err, link.ErrNone) && t.Cause == trouble.Refusal: // that a node knows no links is no trouble
	default:
		links.Troubles().Wrong(from.Place(), err, args...)
	}
}
