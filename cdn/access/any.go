package access

import (
	"context"
	"errors"
	"slices"

	"github.com/deltacdn/delta/cdn"
)

// Any returns an Authorizer that asks the given ones in turn. The first that knows the
// kind of the request's credential decides: the one that returns something else than
// [cdn.ErrUnknownCredential], be it a grant, a refusal or a failure. So a forged token is
// not tried as something else, and an Authorizer that grants everybody something belongs
// at the end. If none knows it, or there is none, Any refuses with ErrUnknownCredential,
// too.
func Any(all ...cdn.Authorizer) cdn.Authorizer {
	all = slices.Clone(all)
	return cdn.AuthorizerFunc(func(ctx context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
		for _, a := range all {
			g, err := a.Authorize(ctx, r)
			if !errors.Is(err, cdn.ErrUnknownCredential) {
				return g, err
			}
		}
		return cdn.Grant{}, cdn.ErrUnknownCredential
	})
}
