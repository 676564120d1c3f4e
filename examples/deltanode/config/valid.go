package config

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/deltacdn/delta/cdn"
)

// hostName is a DNS name, or an element of one.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`)

func isHostPort(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("%q is no HOST:PORT, such as :8080 or 127.0.0.1:8080", text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: the port is from 0 to 65535", text)
	} else if host == "" {
		_ = n
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil && !isName(host) {
		return fmt.Errorf("%q: %q is no address of this machine", text, host)
	}
	return nil
}

// isName reports whether a host is a name. What consists of digits and dots would be a
// mistyped address.
func isName(host string) bool {
	return len(host) <= 253 && hostName.MatchString(host) && strings.ContainsFunc(host, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
}

func isOff(valid func(string) error) func(string) error {
	return func(text string) error {
		if text == "off" {
			return nil
		}
		return valid(text)
	}
}

func isPublic(text string) error {
	if ip, err := netip.ParseAddr(text); err == nil {
		if ip.IsUnspecified() || ip.IsMulticast() {
			return fmt.Errorf("%q is no address that others can reach", text)
		}
		return nil
	}
	if !isName(text) {
		return fmt.Errorf("%q is no address and no host name", text)
	}
	return nil
}

func isDNSName(text string) error {
	if !isName(text) {
		return fmt.Errorf("%q is no host name, such as cdn.example.com", text)
	}
	return nil
}

// isBaseURL is for the node's own URL, at whose root it is served.
func isBaseURL(text string) error {
	u, err := parseHTTP(text)
	if err != nil {
		return err
	}
	if strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("%q: there must be no path behind the host", text)
	}
	return nil
}

func isHTTP(text string) error {
	_, err := parseHTTP(text)
	return err
}

func parseHTTP(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is no URL, such as https://cdn.example.com", text)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q does not begin with http:// or https://", text)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%q has no host", text)
	case u.User != nil:
		return nil, errors.New("there must be no user name in the URL")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q: there must be nothing behind the path", text)
	}
	return u, nil
}

// isEntry is for what a directory of points of entry takes.
func isEntry(text string) error {
	if !strings.Contains(text, "://") {
		return fmt.Errorf("%q has no scheme; is it http://%s or https://%s?", text, text, text)
	}
	_, err := cdn.Static(text).Find(context.Background(), "any")
	return err
}

func isNodeName(text string) error {
	_, err := cdn.ParseNodeID(text)
	return err
}

var iceServer = regexp.MustCompile(`^(stuns?:[^?\s"<>]+|turns?:[^?\s"<>]+(\?transport=(udp|tcp))?)$`)

func isICEServer(text string) error {
	if !iceServer.MatchString(text) {
		return fmt.Errorf("%q is no STUN or TURN server, such as stun:stun.example.com:3478 or turn:turn.example.com:3478?transport=udp", text)
	}
	return nil
}

func isOrigin(text string) error {
	if text == "*" {
		return nil
	}
	u, err := parseHTTP(text)
	if err != nil {
		return err
	}
	if u.Path != "" {
		return fmt.Errorf("%q: an origin ends with its host or port", text)
	}
	return nil
}

func isServer(schemes ...string) func(string) error {
	return func(text string) error {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return fmt.Errorf("%q is no server, such as %s://10.0.0.1:4222", text, schemes[0])
		}
		for _, s := range schemes {
			if u.Scheme == s {
				return nil
			}
		}
		return fmt.Errorf("%q does not begin with %s://", text, strings.Join(schemes, ":// or "))
	}
}

func isCodec(text string) error {
	kind, name, ok := strings.Cut(text, "/")
	if !ok || (kind != "video" && kind != "audio") || name == "" {
		return fmt.Errorf("%q is no codec, such as video/H264 or audio/opus", text)
	}
	return nil
}

// isPeer is for a host with or without a port.
func isPeer(text string) error {
	if _, err := netip.ParseAddr(text); err == nil || isName(text) {
		return nil
	}
	return isHostPort(text)
}

// isURLKey is for a key of signed URLs. What it says must not repeat the secret.
func isURLKey(text string) error {
	const least = 16
	id, secret, ok := strings.Cut(text, ":")
	switch {
	case !ok || id == "":
		return errors.New("a key is ID:SECRET, such as k1:$(openssl rand -hex 16)")
	case len(secret) < least:
		return fmt.Errorf("the secret of key %q has less than %d characters; openssl rand -hex 16 makes a good one", id, least)
	}
	return nil
}

func isHeader(text string) error {
	if name, _, ok := strings.Cut(text, "="); !ok || name == "" {
		return errors.New("a header is NAME=VALUE")
	}
	return nil
}
