// Package ctl is the command line of the admin API: "deltanode ctl".
package ctl

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/admin"
	"github.com/deltacdn/delta/examples/deltanode/config"
)

// The exit codes.
const (
	OK         = 0
	Failed     = 1 // a node has not made the change, or something else failed
	Usage      = 2 // the command line is wrong
	Refused    = 3 // the token is missing, wrong or not enough
	NotFound   = 4 // there is no such node, stream or session
	NotReached = 5 // the node does not answer
)

// errUsage wraps what is wrong with a command line.
var errUsage = errors.New("usage")

const usage = `deltanode ctl [flags] COMMAND

  nodes                     the nodes of the network
  links                     the links between them
  streams [STREAM]          the streams, and which nodes have them
  sessions                  publishers, viewers and downstream nodes
                            (-stream -node -action -tag -subject select)
  blocks                    what is blocked and revoked
  limits NODE [KEY=VALUE…]  the limits of a node; changes them
  kick SESSION              ends a session (-reason)
  block STREAM              ends a stream, or those of a pattern, and keeps it away (-reason -for)
  unblock STREAM            takes that back
  revoke GRANT              ends all sessions of a token's ID, and refuses it for 24h
                            (-reason -for: longer, until the token itself expires)
  drain NODE                has a node leave (-for: those who are left then are told goodbye)
  undrain NODE              has it stay

flags, which may stand anywhere:
`

// command is a call of ctl.
type command struct {
	client  *admin.Client
	out     io.Writer
	json    bool
	args    []string
	query   admin.SessionQuery
	reason  string
	howLong time.Duration
}

// Run runs a command line, and returns the exit code.
func Run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	c, err := parse(args, getenv, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return OK
	}
	if err == nil {
		err = c.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(stderr, "deltanode ctl:", sentence(err))
	}
	return code(err)
}

func code(err error) int {
	var network interface{ Timeout() bool }
	switch {
	case err == nil:
		return OK
	case errors.Is(err, errUsage):
		return Usage
	case errors.Is(err, cdn.ErrUnauthorized), errors.Is(err, cdn.ErrForbidden):
		return Refused
	case errors.Is(err, cdn.ErrNotFound):
		return NotFound
	case errors.As(err, &network): // of net and net/url
		return NotReached
	}
	return Failed
}

// sentence is what the API says, where it has said something.
func sentence(err error) string {
	var e *cdn.Error
	if errors.As(err, &e) && e.Detail != "" {
		return e.Detail
	}
	return strings.TrimPrefix(err.Error(), "usage: ")
}

func parse(args []string, getenv func(string) string, help io.Writer) (*command, error) {
	c := &command{client: &admin.Client{}, out: help}
	f := flag.NewFlagSet("ctl", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	var tokenFile, caFile string
	f.StringVar(&c.client.URL, "url", cmp.Or(getenv("DELTA_CTL_URL"), "http://127.0.0.1:9080"), "`url` of a node's listener for operators (DELTA_CTL_URL)")
	f.StringVar(&c.client.Token, "token", getenv("DELTA_CTL_TOKEN"), "the admin `token` (DELTA_CTL_TOKEN); others can read flags")
	f.StringVar(&tokenFile, "token-file", getenv("DELTA_CTL_TOKEN_FILE"), "`file` with the admin token (DELTA_CTL_TOKEN_FILE)")
	f.StringVar(&caFile, "ca-file", getenv("DELTA_CTL_CA_FILE"), "`file` with certificates (PEM) that vouch for the node (DELTA_CTL_CA_FILE)")
	f.BoolVar(&c.json, "json", false, "write JSON, as the API answers")
	f.StringVar(&c.query.Stream, "stream", "", "sessions of this `stream`")
	f.StringVar(&c.query.Node, "node", "", "sessions or streams at this `node`")
	f.StringVar(&c.query.Action, "action", "", "sessions of this `action`: publish, play or fetch")
	f.StringVar(&c.query.Tag, "tag", "", "sessions with this `tag`")
	f.StringVar(&c.query.Subject, "subject", "", "sessions of this `subject`")
	f.StringVar(&c.reason, "reason", "", "`why`, for the log and those who look")
	f.DurationVar(&c.howLong, "for", 0, "for how `long`; without it, a block lasts until it is taken back, and a revocation for 24h")
	if err := parseAnywhere(f, args, &c.args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(help, usage)
			f.SetOutput(help)
			f.PrintDefaults()
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return c, c.connect(tokenFile, caFile)
}

// parseAnywhere takes flags between the other arguments as well.
func parseAnywhere(f *flag.FlagSet, args []string, rest *[]string) error {
	for {
		if err := f.Parse(args); err != nil {
			return err
		}
		if f.NArg() == 0 {
			return nil
		}
		*rest = append(*rest, f.Arg(0))
		args = f.Args()[1:]
	}
}

func (c *command) connect(tokenFile, caFile string) error {
	if tokenFile != "" && c.client.Token == "" {
		text, err := config.ReadFile(tokenFile)
		if err != nil {
			return fmt.Errorf("%w: -token-file: %w", errUsage, err)
		}
		c.client.Token = strings.TrimSpace(string(text))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		pool := x509.NewCertPool()
		if err != nil || !pool.AppendCertsFromPEM(text) {
			return fmt.Errorf("%w: -ca-file: %s has no certificate (PEM)", errUsage, caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	const patience = 30 * time.Second
	c.client.HTTP = &http.Client{Transport: transport, Timeout: patience}
	return nil
}

// verbs are the commands, and how many arguments each takes.
var verbs = map[string]struct {
	least, most int
	run         func(*command, context.Context) error
}{
	"nodes":    {0, 0, (*command).nodes},
	"links":    {0, 0, (*command).links},
	"streams":  {0, 1, (*command).streams},
	"sessions": {0, 0, (*command).sessions},
	"blocks":   {0, 0, (*command).blocks},
	"limits":   {1, 100, (*command).limits},
	"kick":     {1, 1, (*command).kick},
	"block":    {1, 1, (*command).block},
	"unblock":  {1, 1, (*command).unblock},
	"revoke":   {1, 1, (*command).revoke},
	"drain":    {1, 1, (*command).drain},
	"undrain":  {1, 1, (*command).undrain},
}

func (c *command) run(ctx context.Context) error {
	if len(c.args) == 0 {
		return fmt.Errorf("%w: a command is missing, such as nodes; -help lists them", errUsage)
	}
	name := c.args[0]
	c.args = c.args[1:]
	v, ok := verbs[name]
	switch {
	case !ok:
		return fmt.Errorf("%w: there is no command %q; -help lists them", errUsage, name)
	case len(c.args) < v.least:
		return fmt.Errorf("%w: %s needs an argument; -help lists them", errUsage, name)
	case len(c.args) > v.most:
		return fmt.Errorf("%w: %s: unexpected argument %q", errUsage, name, c.args[v.most])
	}
	return v.run(c, ctx)
}

// show writes v as JSON if that is wanted, and else what table writes.
func (c *command) show(v any, table func()) error {
	if c.json {
		e := json.NewEncoder(c.out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	table()
	return nil
}
