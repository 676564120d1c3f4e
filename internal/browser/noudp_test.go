package browser

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWithoutUDP has Chromium publish to an origin and play at an edge from a machine whose
// firewall drops all UDP: media goes by TCP. When the firewall lets UDP through, the next
// player uses that.
func TestWithoutUDP(t *testing.T) {
	requireDeploy(t)
	path := chromium(t)
	m := newMachines(t)
	hub := m.hub(nil)
	nodes, viewer := m.add("nodes", "", true), m.add("viewer", "", true)
	m.connect(hub, nodes, "192.0.2.1")
	m.connect(hub, viewer, "192.0.2.100")
	m.sh(viewer, `nft -f - <<'END'
table inet noudp {
	chain in { type filter hook input priority filter; iif lo accept; meta l4proto udp counter drop; }
	chain out { type filter hook output priority filter; oif lo accept; meta l4proto udp counter drop; }
}
END`)
	log := &safeBuffer{}
	three := m.command(nodes, binary, "-v", "-demo=false", "-origin", "192.0.2.1:8080", "-edge1", "192.0.2.1:8081", "-edge2", "192.0.2.1:8082")
	three.Stdout, three.Stderr = log, log
	three.WaitDelay = time.Second // what is killed is nsenter; the program ends with its machine
	require.NoError(t, three.Start())
	t.Cleanup(func() {
		_ = three.Process.Kill()
		_ = three.Wait() // killed, as it was told
		if t.Failed() {
			t.Logf("the nodes: %s", log)
		}
	})
	inside := m.command(viewer, os.Args[0], "-test.run=^TestWithoutUDPInside$", "-test.v")
	wd, err := os.Getwd()
	require.NoError(t, err)
	inside.Env = append(inside.Env, insideEnv+"="+m.run, "GUIDE_WD="+wd, "GUIDE_CHROMIUM="+path)
	var said bytes.Buffer
	inside.Stdout, inside.Stderr = &said, &said
	require.NoError(t, inside.Start())
	exited := make(chan error, 1)
	go func() { exited <- inside.Wait() }()
	byTCP := func() bool { _, err := os.Stat(filepath.Join(m.run, "playing")); return err == nil }
	require.Eventually(t, func() bool { return byTCP() || len(exited) > 0 }, 3*time.Minute, 100*time.Millisecond)
	if byTCP() {
		dropped := m.sh(viewer, `nft list table inet noudp`)
		require.Regexp(t, `counter packets [1-9]`, dropped, "UDP was tried")
		m.sh(viewer, `nft delete table inet noudp`)
		require.NoError(t, os.WriteFile(filepath.Join(m.run, "open"), nil, 0o600))
	}
	require.NoError(t, <-exited, "%s", &said)
}

// TestWithoutUDPInside is the part of TestWithoutUDP that runs on the machine without UDP.
func TestWithoutUDPInside(t *testing.T) {
	run := os.Getenv(insideEnv)
	if run == "" {
		t.Skip("a part of TestWithoutUDP")
	}
	t.Chdir(os.Getenv("GUIDE_WD"))
	const origin, edge = "http://192.0.2.1:8080", "http://192.0.2.1:8081"
	require.Eventually(t, func() bool { return exec.Command("curl", "-sf", edge+"/status.json").Run() == nil }, patience, 50*time.Millisecond)
	b := newBrowserWith(t, map[string]any{"unsafely-treat-insecure-origin-as-secure": origin}) // for a camera
	b.errors.allow(refused)
	publisher := b.open(origin + "/publish?stream=live&source=camera&autostart=1")
	publisher.waitState("publishing")
	player := b.open(edge + "/play?stream=live")
	requireMoving(t, player)
	player.wait(`delta.stats.audioPackets > 50`)
	requireProtocol(publisher, "tcp")
	requireProtocol(player, "tcp")
	player.shoot("playing")
	require.NoError(t, os.WriteFile(filepath.Join(run, "playing"), nil, 0o600))
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(run, "open")); return err == nil }, patience, 50*time.Millisecond)
	other := b.open(edge + "/play?stream=live")
	requireMoving(t, other)
	requireProtocol(other, "udp")
}

// requireProtocol: media of the page goes by protocol, sooner or later.
func requireProtocol(p *page, protocol string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`(async () => {
		const all = [...(await delta.pc.getStats()).values()];
		const transport = all.find((r) => r.type === "transport");
		const pair = all.find((r) => r.id === transport.selectedCandidatePairId);
		const remote = all.find((r) => r.id === pair.remoteCandidateId);
		return remote.protocol === %q;
	})()`, protocol))
}
