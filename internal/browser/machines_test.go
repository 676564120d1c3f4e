package browser

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// machines are Linux machines in namespaces of their own: network, processes, and the
// files that a person changes. They are on one network, with names by DNS.
type machines struct {
	t   *testing.T
	run string // directory with the process of each machine
	all map[string]*machine
}

type machine struct {
	name string
	init int // its first process
	path string
	env  []string
}

// The network of the machines, of addresses that are for documentation (RFC 5737).
const nameServer = "192.0.2.254"

// requireDeploy skips where machines cannot be made, and says why.
func requireDeploy(t *testing.T) {
	t.Helper()
	skip := func(why string) {
		if os.Getenv("DELTA_REQUIRE_DEPLOY") != "" {
			t.Fatalf("%s, and DELTA_REQUIRE_DEPLOY is set", why)
		}
		t.Skip("skipped: " + why)
	}
	if os.Geteuid() != 0 {
		skip("machines in namespaces take root")
	}
	for tool, pkg := range map[string]string{
		"unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux", "ip": "iproute2", "nft": "nftables",
		"dnsmasq": "dnsmasq-base", "certutil": "libnss3-tools", "openssl": "openssl", "curl": "curl", "update-ca-certificates": "ca-certificates",
	} {
		if _, err := exec.LookPath(tool); err != nil {
			skip("no " + tool + " (Debian: apt-get install " + pkg + ")")
		}
	}
	if out, err := exec.Command("unshare", "-m", "-n", "sh", "-c", "mount -t tmpfs none /mnt && mkdir /mnt/u /mnt/w && mount -t overlay -o lowerdir=/etc,upperdir=/mnt/u,workdir=/mnt/w none /etc && nft list ruleset").CombinedOutput(); err != nil {
		skip("this system allows no namespaces with files and firewalls of their own: " + string(out))
	}
}

func newMachines(t *testing.T) *machines {
	return &machines{t: t, run: t.TempDir(), all: map[string]*machine{}}
}

// boot prepares the files: what is written below these directories is the machine's own.
const boot = `set -e
mount --make-rprivate /
mkdir -p "$1"
files=$1
mount -t tmpfs tmpfs "$files"
shift
for dir in "$@"; do # that are to be the system's
	mkdir -p "$files/kept$dir"
	mount --bind "$dir" "$files/kept$dir"
done
for dir in etc usr/local var/lib root; do
	mkdir -p "$files/$dir/up" "$files/$dir/work"
	mount -t overlay -o "lowerdir=/$dir,upperdir=$files/$dir/up,workdir=$files/$dir/work" overlay "/$dir"
done
for dir in "$@"; do
	mount --bind "$files/kept$dir" "$dir"
done
mount -t proc proc /proc
touch "$files.ready"
exec sleep infinity`

// add starts a machine. Names of tools in the directory tools stand in for the system's.
// The directories kept are not the machine's own.
func (m *machines) add(name, tools string, network bool, kept ...string) *machine {
	t := m.t
	args := []string{"--mount", "--fork", "--kill-child"}
	if network { // and it does not see the processes of others
		args = append(args, "--net", "--pid")
	}
	files := filepath.Join(m.run, "files-"+name)
	cmd := exec.Command("unshare", append(append(args, "sh", "-c", boot, "sh", files), kept...)...)
	var log bytes.Buffer
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, as it was told
	})
	require.Eventually(t, func() bool { _, err := os.Stat(files + ".ready"); return err == nil }, patience, 10*time.Millisecond, "%s: %s", name, &log)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
	require.NoError(t, err)
	n := &machine{name: name, path: os.Getenv("PATH")}
	_, err = fmt.Sscan(string(children), &n.init)
	require.NoError(t, err, "%q", children)
	if tools != "" {
		dir, err := filepath.Abs(filepath.Join("testdata", "deploy", tools))
		require.NoError(t, err)
		n.path = dir + ":" + n.path
	}
	m.all[name] = n
	if network {
		m.sh(n, "ip link set lo up")
	}
	return n
}

// connect gives a machine its address.
func (m *machines) connect(hub, n *machine, address string) {
	out, err := exec.Command("nsenter", "-t", fmt.Sprint(hub.init), "-n", "sh", "-c",
		fmt.Sprintf("ip link add to-%s type veth peer name eth0 netns %d && ip link set to-%s master br0 up", n.name, n.init, n.name)).CombinedOutput()
	require.NoError(m.t, err, "%s", out)
	m.sh(n, "ip addr add "+address+"/24 dev eth0 && ip link set eth0 up")
	m.sh(n, "rm -f /etc/resolv.conf && echo nameserver "+nameServer+" > /etc/resolv.conf")
	require.NoError(m.t, os.WriteFile(filepath.Join(m.run, n.name+".example.com"), fmt.Append(nil, n.init), 0o600))
}

// hub is the network itself: a bridge, and a name server.
func (m *machines) hub(names map[string]string) *machine {
	hub := m.add("net", "", true)
	m.sh(hub, "ip link add br0 type bridge && ip addr add "+nameServer+"/24 dev br0 && ip link set br0 up")
	args := []string{"dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=root", "--pid-file", "--listen-address=" + nameServer, "--bind-interfaces", "--local=/example.com/"}
	for name, address := range names {
		args = append(args, "--address=/"+name+".example.com/"+address)
	}
	cmd := m.command(hub, args...)
	var log bytes.Buffer
	cmd.Stderr = &log
	require.NoError(m.t, cmd.Start())
	m.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, as it was told
		if m.t.Failed() {
			m.t.Logf("dnsmasq: %s", &log)
		}
	})
	return hub
}

// command returns one that runs on a machine, in its home directory.
func (m *machines) command(n *machine, args ...string) *exec.Cmd {
	enter := []string{"-t", fmt.Sprint(n.init), "-m"}
	if n.name != "home" {
		enter = append(enter, "-n", "-p")
	}
	cmd := exec.Command("nsenter", append(append(enter, "--wd=/root", "--"), args...)...)
	cmd.Env = append(append(os.Environ(), "HOME=/root", "PATH="+n.path, "GUIDE_RUN="+m.run, "NO_PROXY=*", "no_proxy=*"), n.env...)
	return cmd
}

// sh runs a script, which has to succeed, and returns what it prints.
func (m *machines) sh(n *machine, script string) string {
	m.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := m.command(n, "bash", "-euo", "pipefail", "-c", script)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	require.NoError(m.t, err, "on %s:\n%s\n%s%s", n.name, script, &stdout, &stderr)
	return strings.TrimSpace(stdout.String())
}
