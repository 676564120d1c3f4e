package main

import (
	"bufio"
	"context"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// With -tcp, clients without UDP publish and play.
func TestClientsByTCP(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n := launch(t, "-tcp", "127.0.0.1:0")
	n.waitReady(t)
	p, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{Dialer: &whip.Client{}, URL: n.url + "/whip/live", TCP: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Stop(ctx)) }()
	require.NoError(t, p.WaitConnected(ctx))
	v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: n.url + "/whep/live", TCP: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, v.Close()) }()
	require.NoError(t, v.WaitFrames(ctx, 30))
	_, metrics := get(t, n.admin+"/metrics")
	require.Regexp(t, regexp.MustCompile(`(?m)^delta_tcp_clients 2$`), metrics)
}

// The first line says where they come to.
func TestServingSaysTCP(t *testing.T) {
	cmd := exec.Command(binary, "-http", "127.0.0.1:0", "-admin-http", "off", "-tcp", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Regexp(t, `udp=\S+ tcp=127\.0\.0\.1:[1-9]\d* roles=`, line)
}
