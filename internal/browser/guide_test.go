package browser

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A block is one of the guide's code blocks.
type block struct {
	section string   // the heading above it
	kind    string   // sh, yaml, ...
	on      []string // machines on which it is run; none: it is not run
	when    string   // the way that it belongs to, where there are several
	text    string
}

var fence = regexp.MustCompile("(?m)^```(\\w*)(.*)\n((?s:.*?))^```$|^#+ (.*)$")

// readGuide returns the blocks of a document in their order.
func readGuide(t *testing.T, file string) (all []block) {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	section := ""
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		if m[4] != "" {
			section = m[4]
			continue
		}
		b := block{section: section, kind: m[1], text: m[3]}
		for word := range strings.FieldsSeq(m[2]) {
			switch key, value, _ := strings.Cut(word, "="); key {
			case "on":
				b.on = strings.Split(value, ",")
			case "if":
				b.when = value
			}
		}
		all = append(all, b)
	}
	return all
}

// guide is the guide, in the way that the test goes: with a certificate authority of its
// own.
func guide(t *testing.T) (before, upgrade []block) {
	all := readGuide(t, "../../docs/deploy/README.md")
	at := slices.IndexFunc(all, func(b block) bool { return b.section == "Upgrades" })
	require.Positive(t, at)
	for i, b := range all {
		switch {
		case len(b.on) == 0 || b.when != "" && b.when != "own-ca":
		case i < at:
			before = append(before, b)
		default:
			upgrade = append(upgrade, b)
		}
	}
	require.Greater(t, len(before), 8)
	require.NotEmpty(t, upgrade)
	return before, upgrade
}

// follow runs blocks where the guide says.
func (m *machines) follow(blocks []block) {
	m.t.Helper()
	for _, b := range blocks {
		for _, name := range b.on {
			script := strings.ReplaceAll(b.text, "NAME=e1\n", "NAME="+name+"\n") // as the guide says above it
			m.t.Logf("%s, on %s", b.section, name)
			n := m.all[name]
			require.NotNil(m.t, n, "the guide names a machine %q", name)
			if out := m.sh(n, script); out != "" {
				m.t.Log(out)
			}
		}
	}
}

// heredoc is a file that a script writes.
var heredoc = regexp.MustCompile(`(?s)cat > (\S+) <<'?END'?\n(.*?\n)END\n`)

// environment is what a unit sets.
var environment = regexp.MustCompile(`(?m)^Environment=(.*)$`)

// TestGuideConfigurations: each configuration of the guide is what deltanode understands,
// with the files and the environment that the guide gives it.
func TestGuideConfigurations(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("skipped: no openssl")
	}
	bin := buildDeltanode(t)
	etc := t.TempDir()
	for _, name := range []string{"secret", "publish-token", "play-token", "embedded-password"} {
		require.NoError(t, os.WriteFile(filepath.Join(etc, name), []byte("0123456789abcdef0123456789abcdef\n"), 0o600))
	}
	for _, names := range [][2]string{{"embedded.pem", "embedded.key"}, {"tls.crt", "tls.key"}} {
		out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
			"-addext", "subjectAltName=DNS:*.example.com", "-out", filepath.Join(etc, names[0]), "-keyout", filepath.Join(etc, names[1])).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	ca, err := os.ReadFile(filepath.Join(etc, "embedded.pem"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(etc, "embedded-ca.pem"), ca, 0o600))
	here := strings.NewReplacer("/etc/deltanode", etc, "/run/secrets/delta", etc, "/run/secrets/tls", etc, "%d", etc)
	unit, err := os.ReadFile("../../docs/deploy/deltanode.service")
	require.NoError(t, err)
	settings := func(text string) (all []string) {
		for _, m := range environment.FindAllStringSubmatch(text, -1) {
			all = append(all, strings.Fields(here.Replace(m[1]))...)
		}
		return all
	}
	check := func(name string, env []string, args ...string) string {
		cmd := exec.Command(bin, append([]string{"-check"}, args...)...)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		return string(out)
	}
	file := func(name string, env []string, text string) string {
		at := filepath.Join(t.TempDir(), "deltanode.yaml")
		require.NoError(t, os.WriteFile(at, []byte(here.Replace(text)), 0o600))
		return check(name, env, "-config", at)
	}
	var whole []string // the origin's, and an edge's
	var parts []block
	var growing []string // what the directory adds to the unit
	kubernetes := ""
	for _, b := range readGuide(t, "../../docs/deploy/README.md") {
		for _, m := range heredoc.FindAllStringSubmatch(b.text, -1) {
			switch {
			case strings.HasSuffix(m[1], "deltanode.yaml"):
				whole = append(whole, strings.ReplaceAll(m[2], "$NAME", "e1"))
			case strings.HasSuffix(m[1], "directory.conf"):
				growing = settings(m[2])
			}
		}
		switch {
		case b.kind != "yaml":
		case strings.HasPrefix(b.text, "apiVersion"):
			_, text, _ := strings.Cut(b.text, "deltanode.yaml: |\n")
			text, _, _ = strings.Cut(text, "---\n")
			kubernetes = regexp.MustCompile(`(?m)^ {4}`).ReplaceAllString(text, "")
		default:
			parts = append(parts, b)
		}
	}
	require.Len(t, whole, 2)
	require.Len(t, parts, 2)
	require.Len(t, growing, 4)
	env := settings(string(unit))
	require.Len(t, env, 3)
	for _, text := range whole {
		file("the guide", env, text)
		for _, p := range parts { // with the lines that it takes the place of
			base, env := text, env
			if strings.Contains(p.text, "directory:") {
				base = regexp.MustCompile(`(?m)^(entry|drain):.*\n`).ReplaceAllString(text, "")
				env = append(slices.Clip(env), growing...)
			}
			file(p.section, env, base+p.text)
		}
	}
	said := file("everybody plays", env, whole[1]+"auth: {open: [play]}\n")
	require.Contains(t, said, "Anybody may play, without a credential.")
	said = file("Kubernetes", []string{"DELTA_URL=https://edge-1.example.com"}, kubernetes)
	require.Contains(t, said, "Who wants to play shows the token.")
	require.NotContains(t, said, "the certificate is not for")

	compose, err := os.ReadFile("../../docs/deploy/compose.yaml")
	require.NoError(t, err)
	commands := regexp.MustCompile(`command: \[(.*)\]`).FindAllStringSubmatch(string(compose), -1)
	require.Len(t, commands, 3)
	for _, c := range commands {
		check("compose.yaml", env[:1], strings.Split(strings.ReplaceAll(c[1], `"`, ""), ", ")...)
	}
}

func buildDeltanode(t *testing.T) string {
	bin := filepath.Join(t.TempDir(), "deltanode")
	out, err := exec.Command("go", "build", "-C", "../../examples/deltanode", "-o", bin, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bin
}

// TestUnit: systemd understands the unit, and finds little that it leaves open.
func TestUnit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("skipped: no systemd-analyze")
	}
	text, err := os.ReadFile("../../docs/deploy/deltanode.service")
	require.NoError(t, err)
	unit := filepath.Join(t.TempDir(), "deltanode.service")
	require.NoError(t, os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/deltanode", "/bin/true")), 0o600))
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
	out, err = exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", unit).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestGuideLinks: what the pages about running Delta lead to is there.
func TestGuideLinks(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"deploy/README.md", "sizing.md", "performance.md"} {
		page = filepath.Join("../../docs", page)
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`).FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(page), m[1]))
			require.NoError(t, err, "%s", page)
		}
	}
}
