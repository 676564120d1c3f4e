package resource

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/deltacdn/delta/cdn"
)

// tokenParameter is the parameter of a URL that may hold a token (RFC 6750 section 2.3).
const tokenParameter = "access_token"

// takeToken returns the request's token, "" if there is none, and removes it from the query,
// which may be logged. A request must not have two (RFC 6750 section 2).
func takeToken(r *http.Request, query url.Values) (token string, err error) {
	token = bearer(r)
	inURL := query[tokenParameter]
	delete(query, tokenParameter)
	switch {
	case len(inURL) > 1, len(inURL) == 1 && inURL[0] != "" && token != "":
		return "", &cdn.Error{Op: "offer", Err: cdn.ErrInvalid, Detail: "A request has one token, in the Authorization header or in the URL."}
	case len(inURL) == 1 && token == "":
		return inURL[0], nil
	}
	return token, nil
}

// bearer returns the token of the Authorization header (RFC 6750 section 2.1),
// "" if there is none. Anything else in the header counts as none: clients send "Bearer"
// without a token, or a proxy's "Basic", to servers that need no token, and one that needs
// a token refuses them for lack of it.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// keepPrivate keeps the answer to a URL with a token out of shared caches (RFC 6750
// section 2.3).
func keepPrivate(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has(tokenParameter) {
		w.Header().Set("Cache-Control", "private")
	}
}

// challenge adds what is wrong with the client's token (RFC 6750 section 3.1).
func challenge(w http.ResponseWriter, status int, shown bool) {
	const header = "WWW-Authenticate"
	switch {
	case shown && status == http.StatusUnauthorized:
		w.Header().Set(header, `Bearer error="invalid_token"`)
	case shown && status == http.StatusForbidden:
		w.Header().Set(header, `Bearer error="insufficient_scope"`)
	}
}
