package browser

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDeploy follows docs/deploy/README.md on three machines in namespaces, with names, a
// certificate authority of its own, firewalls and tokens. On a fourth one, Chromium
// publishes its camera at the origin's page over https, and plays it on both edges; then
// the guide's upgrade restarts all nodes, and all pages come back.
//
// Of the guide's commands, these are others: git gives this tree, ssh and scp enter the
// namespaces, systemctl starts the unit's program without systemd, and sysctl sets
// nothing, since the kernel is one. See testdata/deploy.
func TestDeploy(t *testing.T) {
	requireDeploy(t)
	path := chromium(t)
	m := newMachines(t)
	tree, err := filepath.Abs("../..")
	require.NoError(t, err)
	addresses := map[string]string{"o1": "192.0.2.1", "e1": "192.0.2.2", "e2": "192.0.2.3", "viewer": "192.0.2.100"}
	hub := m.hub(addresses)
	home := m.add("home", "home", false, goCaches(t)...) // it builds with what there is
	home.env = []string{"GUIDE_TREE=" + tree}
	for name, address := range addresses {
		tools := "machine"
		if name == "viewer" {
			tools = ""
		}
		m.connect(hub, m.add(name, tools, true), address)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range []string{"o1", "e1", "e2"} {
				t.Logf("log of %s:\n%s", name, m.sh(m.all[name], "cat /var/lib/deltanode-unit/log || true"))
			}
		}
	})
	before, upgrade := guide(t)
	for i, b := range before {
		if b.on[0] == "viewer" { // the guide's person carries the file there
			m.sh(home, `scp ~/delta-secrets/ca.pem root@viewer.example.com:/root/`)
		}
		m.follow(before[i : i+1])
	}
	m.requireFirewall()
	m.requireTokens()

	inside := m.command(m.all["viewer"], os.Args[0], "-test.run=^TestDeployInside$", "-test.v")
	wd, err := os.Getwd()
	require.NoError(t, err)
	inside.Env = append(inside.Env, insideEnv+"="+m.run, "GUIDE_WD="+wd, "GUIDE_CHROMIUM="+path)
	var log bytes.Buffer
	inside.Stdout, inside.Stderr = &log, &log
	require.NoError(t, inside.Start())
	exited := make(chan error, 1)
	go func() { exited <- inside.Wait() }()
	finish := func() { require.NoError(t, <-exited, "%s", &log) }
	require.Eventually(t, func() bool {
		select {
		case err := <-exited:
			exited <- err
			return true
		default:
		}
		_, err := os.Stat(filepath.Join(m.run, "playing"))
		return err == nil
	}, 4*time.Minute, 100*time.Millisecond)
	if _, err := os.Stat(filepath.Join(m.run, "playing")); err == nil {
		m.follow(upgrade)
		m.follow(before[len(before)-1:]) // all are ready again
		require.NoError(t, os.WriteFile(filepath.Join(m.run, "upgraded"), nil, 0o600))
	}
	finish()
}

// goCaches returns the directories of Go's that are worth keeping, as far as they exist.
func goCaches(t *testing.T) (all []string) {
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	require.NoError(t, err)
	for dir := range strings.FieldsSeq(string(out)) {
		if _, err := os.Stat(dir); err == nil {
			all = append(all, dir)
		}
	}
	return all
}

// requireFirewall: what the guide does not open is shut.
func (m *machines) requireFirewall() {
	for _, name := range []string{"o1", "e1", "e2"} {
		require.Contains(m.t, m.sh(m.all[name], "nft list ruleset"), "policy drop")
	}
	// A page that anybody could see but for the firewall.
	l := m.command(m.all["o1"], "bash", "-c", "exec openssl s_server -quiet -accept 9999 -cert /etc/deltanode/tls.pem -key /etc/deltanode/tls.key -www")
	require.NoError(m.t, l.Start())
	defer func() { _ = l.Process.Kill(); _ = l.Wait() }()
	ask := "curl -sS --insecure --max-time 2 -o /dev/null https://o1.example.com:"
	require.Eventually(m.t, func() bool { return m.command(m.all["o1"], "bash", "-c", ask+"9999").Run() == nil }, patience, 50*time.Millisecond)
	require.Error(m.t, m.command(m.all["viewer"], "bash", "-c", ask+"9999").Run(), "the firewall lets it through")
	require.NoError(m.t, m.command(m.all["viewer"], "bash", "-c", ask+"443").Run())
}

// requireTokens: nobody publishes or plays without the right token.
func (m *machines) requireTokens() {
	home, viewer := m.all["home"], m.all["viewer"]
	post := func(url, token string) string {
		return m.sh(viewer, `curl -sS --cacert ~/ca.pem -o /dev/null -w '%{http_code}' -H 'Content-Type: application/sdp' `+token+` --data v=0 `+url)
	}
	for name, url := range map[string]string{"publish": "https://o1.example.com/whip/live", "play": "https://e1.example.com/whep/live"} {
		require.Equal(m.t, "401", post(url, ""))
		require.Contains(m.t, []string{"401", "403"}, post(url, "-H 'Authorization: Bearer wrong'"))
		token := m.sh(home, "cat ~/delta-secrets/"+name+"-token")
		require.NotContains(m.t, []string{"401", "403"}, post(url, "-H 'Authorization: Bearer "+token+"'"), "it is the offer that is wrong")
		viewer.env = append(viewer.env, "GUIDE_"+name+"="+token)
	}
}

// insideEnv has the test binary run the part in the viewer's namespaces.
const insideEnv = "DELTA_DEPLOY_INSIDE"

// TestDeployInside is the part of TestDeploy that runs on the viewer's machine.
func TestDeployInside(t *testing.T) {
	run := os.Getenv(insideEnv)
	if run == "" {
		t.Skip("a part of TestDeploy")
	}
	t.Chdir(os.Getenv("GUIDE_WD"))
	publish := "https://o1.example.com/publish?stream=live&source=camera&autostart=1#token=" + os.Getenv("GUIDE_publish")
	play := "play?stream=live#token=" + os.Getenv("GUIDE_play")
	b := newBrowser(t)
	b.errors.allow(lost, refused, regexp.MustCompile(`net::ERR_FAILED`)) // nodes restart
	publisher := b.open(publish)
	publisher.waitState("publishing")
	publisher.shoot("publishing")
	one, two := b.open("https://e1.example.com/"+play), b.open("https://e2.example.com/"+play)
	for _, p := range []*page{one, two} {
		requireMoving(t, p)
		p.wait(`document.getElementById("video").getVideoPlaybackQuality().totalVideoFrames > 30`)
		p.shoot("playing")
	}
	requireSame(t, one, two)
	require.NoError(t, os.WriteFile(filepath.Join(run, "playing"), nil, 0o600))
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(run, "upgraded")); return err == nil }, 4*time.Minute, 100*time.Millisecond)
	publisher.waitState("publishing") // it has come back by itself, and so have the players
	requireMoving(t, one)
	requireMoving(t, two)
}
