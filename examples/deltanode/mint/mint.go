// Package mint makes tokens and signed URLs: "deltanode token" and "deltanode sign-url".
package mint

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/urlauth"
	"github.com/deltacdn/delta/examples/deltanode/config"
)

// permit is what a token or a URL allows.
type permit struct {
	actions, streams  string
	howLong           time.Duration
	id, subject, tag  string
	bitrate           int
	address           string
	issuer, audience  string
	secretFile, usage string
}

func (p *permit) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&p.actions, "actions", "play", "what it allows: publish, play, or both, with a comma between")
	f.StringVar(&p.streams, "streams", "", "`pattern` of the streams, such as live/*; ** is all (required)")
	f.DurationVar(&p.howLong, "for", time.Hour, "`how long` it is good for")
	f.StringVar(&p.id, "id", "", "its `ID`, by which it can be revoked")
	f.StringVar(&p.subject, "subject", "", "`who` has it; a publisher takes a stream over from one of the same name")
	f.StringVar(&p.tag, "tag", "", "`word` for accounting, such as a customer's name")
	f.IntVar(&p.bitrate, "max-bitrate", 0, "most `bits` a second; 0: no bound")
	return f
}

// parse reads a command line, and writes the help if that is wanted.
func (p *permit) parse(f *flag.FlagSet, args []string, help io.Writer) error {
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(help, p.usage)
		f.SetOutput(help)
		f.PrintDefaults()
	}
	if err == nil && p.streams == "" {
		err = errors.New("-streams is missing: a pattern such as live/*, or ** for all")
	}
	if err == nil && p.howLong <= 0 {
		err = errors.New("-for has to be longer than nothing")
	}
	return err
}

func (p *permit) list() ([]string, error) {
	all := strings.Split(p.actions, ",")
	for _, a := range all {
		if a != "publish" && a != "play" {
			return nil, fmt.Errorf("-actions: %q is neither publish nor play", a)
		}
	}
	return all, nil
}

// secret reads the key that signs, from a file or the environment.
func (p *permit) secret(env string) (string, error) {
	if p.secretFile == "" {
		if text := os.Getenv(env); text != "" {
			return text, nil
		}
		return "", fmt.Errorf("-secret-file is missing (or %s)", env)
	}
	text, err := config.ReadFile(p.secretFile)
	return strings.TrimRight(string(text), "\r\n"), err
}

// Token writes a JSON Web Token that is signed by auth.jwt.secret.
func Token(args []string, out io.Writer) error {
	p := &permit{usage: "deltanode token -secret-file FILE -streams PATTERN: makes a JSON Web Token by auth.jwt.secret (HS256)"}
	f := p.flags("token")
	f.StringVar(&p.secretFile, "secret-file", "", "`file` with auth.jwt.secret (DELTA_AUTH_JWT_SECRET)")
	f.StringVar(&p.issuer, "issuer", "", "claim `iss`")
	f.StringVar(&p.audience, "audience", "", "claim `aud`")
	if err := p.parse(f, args, out); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	actions, err := p.list()
	if err != nil {
		return err
	}
	if _, err := cdn.ParseStreamPattern(p.streams); err != nil {
		return fmt.Errorf("-streams: %w", err)
	}
	key, err := p.secret("DELTA_AUTH_JWT_SECRET")
	if err != nil {
		return err
	}
	now := time.Now()
	claims := jwt.MapClaims{"streams": []string{p.streams}, "actions": actions, "iat": now.Unix(), "exp": now.Add(p.howLong).Unix()}
	for name, value := range map[string]string{"jti": p.id, "sub": p.subject, "tag": p.tag, "iss": p.issuer, "aud": p.audience} {
		if value != "" {
			claims[name] = value
		}
	}
	if p.bitrate > 0 {
		claims["max_bitrate"] = p.bitrate
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(key))
	if err == nil {
		fmt.Fprintln(out, text)
	}
	return err
}

// SignURL writes a URL that is signed by auth.url_keys.
func SignURL(args []string, out io.Writer) error {
	p := &permit{usage: "deltanode sign-url -keys-file FILE -streams PATTERN URL: signs a URL by the first of auth.url_keys"}
	f := p.flags("sign-url")
	f.StringVar(&p.secretFile, "keys-file", "", "`file` with auth.url_keys (DELTA_AUTH_URL_KEYS)")
	f.StringVar(&p.address, "address", "", "`network` or address of the clients that it is good for")
	if err := p.parse(f, args, out); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return errors.New("the URL to sign is missing, such as https://edge.example.com/whep/live")
	}
	text, err := p.secret("DELTA_AUTH_URL_KEYS")
	if err != nil {
		return err
	}
	keys := config.URLKeys(text)
	authority, err := urlauth.New(keys...)
	if err != nil {
		return err
	}
	permit, err := p.permit()
	if err != nil {
		return err
	}
	signed, err := authority.Sign(f.Arg(0), permit)
	if err == nil {
		fmt.Fprintln(out, signed)
	}
	return err
}

func (p *permit) permit() (urlauth.Permit, error) {
	out := urlauth.Permit{
		Streams: cdn.StreamPattern(p.streams), Expires: time.Now().Add(p.howLong),
		MaxBitrate: p.bitrate, Subject: p.subject, Tag: p.tag, ID: p.id,
	}
	actions, err := p.list()
	if err != nil {
		return out, err
	}
	for _, a := range actions {
		out.Actions = append(out.Actions, map[string]cdn.Action{"publish": cdn.ActionPublish, "play": cdn.ActionPlay}[a])
	}
	if p.address == "" {
		return out, nil
	}
	if ip, err := netip.ParseAddr(p.address); err == nil {
		out.Address = netip.PrefixFrom(ip, ip.BitLen())
	} else if out.Address, err = netip.ParsePrefix(p.address); err != nil {
		return out, fmt.Errorf("-address: %q is no network and no address", p.address)
	}
	return out, nil
}
