package config

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// load reads a file with that text, and what flags and environment say besides.
func load(t *testing.T, file string, environ []string, args ...string) (Config, error) {
	t.Chdir(t.TempDir())
	if file != "" {
		require.NoError(t, os.WriteFile("node.yaml", []byte(file), 0o600))
		args = append([]string{"-config", "node.yaml"}, args...)
	}
	c, _, err := Load(args, environ, io.Discard)
	return c, err
}

func TestLaterLayersOverride(t *testing.T) {
	const file = "drain: 10s\nhttp: :1\nlimits:\n  sessions: 7\n  streams: 8\nentry: [http://a, http://b]\n"
	c, err := load(t, file, []string{"DELTA_HTTP=:2", "DELTA_DRAIN=20s", "DELTA_ENTRY=http://c, http://d", "OTHER=1", "DELTA_CTL_URL=http://e"}, "-http", "localhost:3", "-limits-streams", "9")
	require.NoError(t, err)
	require.Equal(t, "localhost:3", c.HTTP.Addr)
	require.Equal(t, 20*time.Second, c.Node.Drain)
	require.Equal(t, []string{"http://c", "http://d"}, c.Network.Entry)
	require.Equal(t, 7, c.Limits.Sessions)
	require.Equal(t, 9, c.Limits.Streams)
	require.Equal(t, 8, c.Limits.Layers, "the default")
	require.Empty(t, c.Warnings)
}

// A secret and the file with it are one setting.
func TestSecrets(t *testing.T) {
	write := func(t *testing.T, text string, mode os.FileMode) string {
		name := filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.WriteFile(name, []byte(text), mode))
		return name
	}
	const long = "0123456789abcdef"
	for name, tc := range map[string]struct {
		file, env, flag string // what follows secret or secret_file
		want, warning   string
	}{
		"file in file":      {file: "secret_file: " + write(t, long+"\n", 0o600), want: long},
		"flag over file":    {file: "secret: x", flag: "-secret-file=" + write(t, long, 0o600), want: long},
		"env over file":     {file: "secret_file: /nowhere", env: "DELTA_SECRET=" + long, want: long},
		"env names a file":  {env: "DELTA_SECRET_FILE=" + write(t, long, 0o600), want: long},
		"flag warns":        {flag: "-secret=" + long, want: long, warning: "-secret is a secret"},
		"readable warns":    {flag: "-secret-file=" + write(t, long, 0o644), want: long, warning: "chmod 600"},
		"short is no error": {env: "DELTA_SECRET=short", want: "short", warning: "can be guessed"},
	} {
		t.Run(name, func(t *testing.T) {
			var env, flags []string
			if tc.env != "" {
				env = append(env, tc.env)
			}
			if tc.flag != "" {
				flags = append(flags, tc.flag)
			}
			c, err := load(t, tc.file, env, flags...)
			require.NoError(t, err)
			require.Equal(t, tc.want, c.Network.Secret)
			require.Contains(t, strings.Join(c.Warnings, "\n"), tc.warning)
			if tc.warning == "" {
				require.Empty(t, c.Warnings)
			}
		})
	}
}

// What is wrong is named, with the line, and what would be right.
func TestWrong(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"htp: :1", "node.yaml:1: htp: there is no such key; the nearest is http"},
		{"http: :1\ntls:\n  cert: x", "node.yaml:3: tls.cert: there is no such key; the nearest is tls.cert_file"},
		{"sessions: 5", "node.yaml:1: sessions: there is no such key; the nearest is limits.sessions"},
		{"http: :1\nhttp: :2", "node.yaml:2: http: it is set in line 1 already"},
		{"drain: 5", `node.yaml:1: drain: "5" is no time with its unit, such as 30s`},
		{"limits:\n  sessions: many", "node.yaml:2: limits.sessions: many is not right; it is a whole number"},
		{"limits:\n  sessions: 0", "node.yaml:2: limits.sessions: 0 is out of range; it is from 1 to 1000000000"},
		{"limits: 5", "node.yaml:1: limits: it is a section; its keys stand below it, indented"},
		{"http:\n  addr: :1", "node.yaml:2: http: there are keys below it; it is text"},
		{"http: [a, b]", "node.yaml:1: http: there is a list; it is text"},
		{"http: true", "node.yaml:1: http: true is not right; it is text"},
		{"http:", "node.yaml:1: http: there is no value"},
		{"demo: yep", "node.yaml:1: demo: yep is not right; it is true or false"},
		{"public: [10.0.0.1, 0.0.0.0]", `node.yaml:1: public: "0.0.0.0" is no address that others can reach`},
		{"public: 10.0.0.256", `node.yaml:1: public: "10.0.0.256" is no address and no host name`},
		{"roles: [origin, king]", `node.yaml:1: roles: "king" is none of origin, relay, edge`},
		{"roles: []", "node.yaml:1: roles: there is none"},
		{"directory: consul", `node.yaml:1: directory: "consul" is none of static, dns, nats, redis, embedded`},
		{"entry: o1.example.com:8080", `is it http://o1.example.com:8080 or https://o1.example.com:8080?`},
		{"http: &a :1\nudp: *a", "anchors and aliases are not understood"},
		{"<<: {http: \":1\"}", "node.yaml:1: a key is a word"},
		{"a: 1\n---\nb: 2", "node.yaml: there is more behind the first document"},
		{"- a", "node.yaml:1: it has to consist of keys and values"},
		{"http: [", "node.yaml: line 1"},
		{"secret: a\nsecret_file: b", "node.yaml:2: secret_file: node.yaml:1: secret is there, too"},
		{"secret_file: /nowhere/at/all", "node.yaml:1: secret_file: open /nowhere/at/all: no such file"},
		{"url: http://a.example/x", "there must be no path behind the host"},
		{"admin:\n  http: :9000", "node.yaml:2: admin.http: :9000 can be reached by others; set admin.token_file"},
		{"nats:\n  user: u", "node.yaml:2: nats.user: it has no effect with directory static"},
		{"directory: nats", "node.yaml: nats.servers: directory nats needs the servers' URLs"},
		{"directory: embedded", "node.yaml: embedded.password: embedded.listen can be reached by others"},
		{"tls:\n  cert_file: a", "node.yaml:2: tls.cert_file: tls.key_file is missing"},
		{"tls:\n  acme:\n    names: [a]", "node.yaml: tls.acme.agree: a certificate is ordered only if you agree"},
		{"hsts: 1h", "node.yaml:1: hsts: it needs certificates"},
		{"roles: edge\ndemo: true\nentry: http://a", "node.yaml:2: demo: the clip is published at an origin"},
		{"ice:\n  servers: [turn:a]", "node.yaml:2: ice.servers: TURN servers want"},
		{"ice:\n  servers: [http://a]", "is no STUN or TURN server"},
		{"url: http://a:1\nentry: [http://a:1/]", "node.yaml:2: entry: http://a:1 is this node's own url"},
		{"http: :1\nudp: \"a\\nb\"", "there is a control character"},
		{"limits: {sessions: 1, streams: x, links: 0}", "limits.streams: x is not right"},
	} {
		_, err := load(t, tc.text, nil)
		require.ErrorContains(t, err, tc.want, tc.text)
	}
	_, err := load(t, "", []string{"DELTA_LIMITS_SESSIONS=x"})
	require.ErrorContains(t, err, `DELTA_LIMITS_SESSIONS: "x" is no whole number, such as 5000`)
	_, err = load(t, "", nil, "-limit-sessions", "1")
	require.ErrorContains(t, err, "flag provided but not defined: -limit-sessions; the nearest is -limits-sessions")
	c, err := load(t, "", []string{"DELTA_HTPP=:1"})
	require.NoError(t, err)
	require.Contains(t, strings.Join(c.Warnings, "\n"), "DELTA_HTPP, which is not known; the nearest is DELTA_HTTP")
}

// What is to keep somebody out and is empty is a mistake, as of a variable that is not
// set, in whatever way it comes.
func TestEmptyGuards(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte(" \n"), 0o600))
	for _, key := range []string{
		"secret", "admin.token", "auth.publish_token", "auth.play_token", "auth.url_keys", "auth.jwt.secret", "auth.jwt.jwks_url",
		"auth.jwt.public_keys", "auth.hook.url", "auth.access_file", "auth.publish_token_file", "secret_file",
	} {
		o := byKey[key]
		_, err := load(t, "", []string{o.Env() + "="})
		require.ErrorContains(t, err, o.Env()+": it is empty", key)
		_, err = load(t, "", nil, "-"+o.Flag()+"=")
		require.ErrorContains(t, err, "-"+o.Flag()+": it is empty", key)
		text := key + ": \"\""
		if section, name, ok := strings.Cut(key, "."); ok {
			text = section + ": {" + name + ": \"\"}"
			if part, name, ok := strings.Cut(name, "."); ok {
				text = section + ": {" + part + ": {" + name + ": \"\"}}"
			}
		}
		_, err = load(t, text, nil)
		require.ErrorContains(t, err, key+": it is empty", key)
		if o.secret {
			_, err = load(t, "", nil, "-"+o.Flag()+"-file="+empty)
			require.ErrorContains(t, err, "is empty", key)
		}
	}
	_, err := load(t, "", []string{"DELTA_HTTP=", "DELTA_NOBODY="})
	require.NoError(t, err, "what is empty is not set")
}

// A node that others reach and that asks nobody for a credential says so.
func TestOpenNodesWarn(t *testing.T) {
	for text, want := range map[string]string{
		"http: :8080":                                  "anybody who reaches :8080 may publish and play: set auth",
		"http: 10.0.0.1:1\nroles: origin":              "anybody who reaches 10.0.0.1:1 may publish: set auth",
		"http: :1\nroles: edge\nentry: http://a":       "anybody who reaches :1 may play: set auth",
		"http: :1\nroles: relay\nentry: http://a":      "",
		"http: localhost:1":                            "",
		"http: :1\nauth: {access_file: a.json}":        "",
		"http: :1\nauth: {hook: {url: https://a}}":     "auth is set and secret is not",
		"http: :1\nauth: {play_token: short}":          "it has less than 16 characters",
		"http: :1\nauth: {publish_token: \"1234567\"}": "it has less than 16 characters",
	} {
		c, err := load(t, text, nil)
		said := strings.Join(c.Warnings, "\n")
		if err != nil {
			said = err.Error()
		}
		if want == "" {
			require.Empty(t, said, text)
		}
		require.Contains(t, said, want, text)
	}
}

// All options can be set in all ways, and nothing is called twice.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range Options() {
		for _, name := range []string{"key " + o.Key, "flag " + o.Flag(), "env " + o.Env()} {
			require.False(t, seen[name], name)
			seen[name] = true
		}
		require.NotEmpty(t, o.Help, o.Key)
		require.NotContains(t, sections, o.Key)
		if o.kind() == kindBool {
			require.Equal(t, "", o.Arg, o.Key)
		} else {
			require.NotEmpty(t, o.Arg, o.Key)
		}
	}
}
