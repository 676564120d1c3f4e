package endpoint

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint/certificate"
	"github.com/deltacdn/delta/internal/endpoint/icecheck"
	"github.com/deltacdn/delta/internal/sdp"
)

// Remote is what signaling says of the peer's transport.
type Remote struct {
	Fingerprints []certificate.Hash
	ICE          icecheck.Credentials
	Mid          string // of the m-section that has the transport
	// Passive: the peer waits for our ClientHello (RFC 8842 section 5.1).
	Passive bool
	// Candidates are the peer's, if they are known. Known: the peer has authenticated
	// them, and one counts as proved as soon as a check comes from it.
	Candidates []netip.AddrPort
	Known      bool
	// Verify decides on the peer's certificates. If nil, the first one must have one of
	// Fingerprints.
	Verify func(chain []*x509.Certificate) error
}

// NewRemote returns a description that did not come as SDP. The fingerprint is the
// value of a=fingerprint, such as "sha-256 AB:CD:…".
func NewRemote(ufrag, pwd, fingerprint string) (Remote, error) {
	h, err := certificate.ParseHash(fingerprint)
	if err != nil {
		return Remote{}, err
	}
	r := Remote{ICE: icecheck.Credentials{Ufrag: ufrag, Pwd: pwd}, Fingerprints: []certificate.Hash{h}}
	return r, sdp.CheckCredentials(ufrag, pwd)
}

// Fingerprint returns the value of a=fingerprint for a certificate.
func Fingerprint(cert *x509.Certificate) (string, error) { return certificate.Fingerprint(cert) }

// Is reports whether a fingerprint, in the form of a=fingerprint, is the peer's.
func (r Remote) Is(fingerprint string) bool {
	h, err := certificate.ParseHash(fingerprint)
	return err == nil && slices.Contains(r.Fingerprints, h)
}

// Shows reports whether a certificate has one of the peer's fingerprints.
func (r Remote) Shows(cert *x509.Certificate) bool {
	return slices.ContainsFunc(r.Fingerprints, func(h certificate.Hash) bool { return h.Of(cert) })
}

// Same reports whether both descriptions name the same certificates.
func (r Remote) Same(other Remote) bool { return slices.Equal(r.Fingerprints, other.Fingerprints) }

// ReadRemote checks that the m-sections of an offer, which are going to be
// accepted, ask for a transport that an endpoint can be the other end of: RTCP with
// RTP, and ICE checks by the peer. That of the first section counts, as it does in a
// bundle. Errors wrap [cdn.ErrUnsupported] for what a PeerConnection might still do,
// and [cdn.ErrInvalid].
func ReadRemote(o *sdp.Offer, sections []*sdp.Media) (Remote, error) {
	var r Remote
	if _, ok := o.Attribute("ice-lite"); ok {
		return r, fmt.Errorf("%w: a lite agent, which waits for our checks", cdn.ErrUnsupported)
	}
	for i, m := range sections {
		if _, ok := m.Attribute("rtcp-mux"); !ok && len(m.Attributes("bundle-only")) == 0 {
			return r, fmt.Errorf("%w: RTCP on a port of its own", cdn.ErrUnsupported)
		}
		switch setup, ok := First(o, m, "setup"); {
		case !ok || setup == "actpass" || setup == "active":
		case setup == "passive":
			r.Passive = r.Passive || i == 0
		default:
			return r, fmt.Errorf("%w: DTLS setup %q", cdn.ErrUnsupported, setup)
		}
		for _, value := range append(o.Attributes("fingerprint"), m.Attributes("fingerprint")...) {
			if h, err := certificate.ParseHash(value); err == nil {
				r.Fingerprints = append(r.Fingerprints, h)
			}
		}
	}
	ufrag, _ := First(o, sections[0], "ice-ufrag")
	pwd, _ := First(o, sections[0], "ice-pwd")
	r.ICE = icecheck.Credentials{Ufrag: strings.Clone(ufrag), Pwd: strings.Clone(pwd)} // and not all of the offer
	r.Mid = strings.Clone(sections[0].Mid)
	if err := sdp.CheckCredentials(ufrag, pwd); err != nil {
		return r, fmt.Errorf("%w: sdp: %w", cdn.ErrInvalid, err)
	}
	if len(r.Fingerprints) == 0 {
		return r, fmt.Errorf("%w: sdp: no fingerprint by SHA-256, SHA-384 or SHA-512", cdn.ErrInvalid)
	}
	return r, nil
}

// Bundle returns the m-sections that an answer accepts, given those that the caller
// wants: that with the transport first. If the offer bundles them, the first of the
// bundle is accepted, too: to reject that is an error to Chromium where all depends
// on it (bundlePolicy: "max-bundle").
func Bundle(o *sdp.Offer, wanted []*sdp.Media) (all []*sdp.Media, bundled bool) {
	all = slices.Clone(wanted)
	var mids []string
	for _, m := range wanted {
		mids = append(mids, m.Mid)
	}
	group := bundle(o, mids)
	if len(group) == 0 {
		return all, false
	}
	i := slices.IndexFunc(o.Media, func(m *sdp.Media) bool { return m.Mid == group[0] })
	if i >= 0 && !slices.Contains(all, o.Media[i]) && !o.Media[i].Rejected && len(o.Media[i].Codecs) > 0 {
		all = append(all, o.Media[i])
	}
	slices.SortStableFunc(all, func(a, b *sdp.Media) int {
		return slices.Index(group, a.Mid) - slices.Index(group, b.Mid)
	})
	return all, true
}

// bundle returns the group that is offered as a bundle and has all m-sections
// named.
func bundle(o *sdp.Offer, mids []string) []string {
	for _, group := range o.Attributes("group") {
		f := strings.Fields(group)
		outside := func(mid string) bool { return !slices.Contains(f[1:], mid) }
		if len(f) > 0 && f[0] == "BUNDLE" && !slices.ContainsFunc(mids, outside) {
			return f[1:]
		}
	}
	return nil
}

// First returns an attribute of the m-section, or else of the session.
func First(o *sdp.Offer, m *sdp.Media, name string) (string, bool) {
	if v, ok := m.Attribute(name); ok {
		return v, true
	}
	return o.Attribute(name)
}
