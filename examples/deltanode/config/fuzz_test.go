package config

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Whatever is in the file: it is read at once, and either all of it is understood, or each
// line of the error names the file, a line and what is wrong there, in printable text.
func FuzzFile(f *testing.F) {
	for _, s := range []string{
		"http: :1\n", "limits: {sessions: 5}", "a: &a [*a]", "a: &a {b: *a}", "<<: *x", "? [a]\n: b", "http: !!int x", "roles: [origin, [edge]]",
		"tls:\n  acme:\n    names: [a.example]\n    agree: true\n", "\x00", "\ufeffhttp: :1", "secret: \"a\\nb\"", "public: ['::1', 1.2.3.4]",
		"a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]", strings.Repeat("a: {", 200), strings.Repeat("[", 500), "drain: 1e400h", "capacity: .inf",
		"capacity: 1e999", "limits:\n  sessions: 99999999999999999999", "---\na: b\n---\n", "%YAML 9.9\n---\na: 1",
	} {
		f.Add([]byte(s))
	}
	for _, o := range options {
		f.Add([]byte(strings.ReplaceAll(o.Key, ".", ":\n ") + ": x\n"))
	}
	name := filepath.Join(f.TempDir(), "n.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<14 {
			return
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		c, _, err := Load([]string{"-config", name}, nil, io.Discard)
		if time.Since(begun) > 5*time.Second {
			t.Fatalf("it took %v", time.Since(begun))
		}
		if err == nil {
			sound(t, c)
			return
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !strings.HasPrefix(line, name+":") {
				t.Fatalf("no file in %q", line)
			}
			if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("not printable: %q", line)
			}
		}
	})
}

// sound is what a configuration never lacks, whatever was asked for.
func sound(t *testing.T, c Config) {
	if c.Node.Roles == (Roles{}) || c.Node.Name == "" || c.Limits.Sessions < 1 || c.Node.Drain < 0 {
		t.Fatalf("%+v", c)
	}
	if c.Admin.Addr != "off" && !loopback(c.Admin.Addr) && c.Admin.Token == "" {
		t.Fatalf("operators need no token at %s", c.Admin.Addr)
	}
	if len(c.TLS.ACME.Names) > 0 && !c.TLS.ACME.Agree {
		t.Fatal("nobody has agreed")
	}
}

// Flags and variables are as strict as the file.
func FuzzFlags(f *testing.F) {
	f.Add("http", ":1")
	f.Add("limits-sessions", "-5")
	f.Add("config", "/dev/zero")
	f.Add("secret-file", "/dev/zero")
	f.Add("roles", ",,")
	f.Add("h", "")
	f.Fuzz(func(t *testing.T, name, value string) {
		c, cmd, err := Load([]string{"-" + name + "=" + value}, []string{"DELTA_" + strings.ToUpper(name) + "=" + value}, io.Discard)
		if err == nil && !cmd.Version {
			sound(t, c)
		}
	})
}
