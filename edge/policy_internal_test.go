package edge

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// A policyFunc is a policy without memory.
type policyFunc func(View) Choice

func (f policyFunc) Choose(v View) Choice { return f(v) }

// policyView is what a viewer with two layers, the lower one in temporal layers, is asked by.
func policyView() allot.View {
	layers := []allot.Layer{{Name: "l", Height: 180, Bitrate: 160e3, Temporal: []float64{80e3, 160e3}}, {Name: "h", Height: 720, Bitrate: 1600e3}}
	return allot.View{
		Now: time.Unix(1000, 0), Layers: layers, Ladder: allot.Build(nil, layers, 50e3, allot.Limits{}), Rung: 3,
		State: bwe.State{Bitrate: 2e6, Verdict: bwe.Overuse, Source: bwe.Nothing, RoundTrip: 100 * time.Millisecond, Queue: 30 * time.Millisecond, Loss: 0.1},
	}
}

// A policy is told what can be sent, and what is known of the path.
func TestPolicyView(t *testing.T) {
	var seen View
	g := &guide{policy: policyFunc(func(v View) Choice { seen = v; return Within(2, 4) })}
	v := policyView()
	v.Room, v.Probing = 4, true
	require.Equal(t, allot.Decision{Fit: true, Range: allot.Range{Least: 2, Most: 4}}, g.decide(v))
	g.policy = policyFunc(func(v View) Choice { seen = v; return Choice{Send: 1, Probe: 3} })
	require.Equal(t, allot.Decision{Send: 1, Probe: 3}, g.decide(v))
	require.Equal(t, View{
		Now: time.Unix(1000, 0), Current: 3, Room: 4, Probing: true, Estimate: 2_000_000, Congested: true, Silent: true,
		RoundTrip: 100 * time.Millisecond, Queue: 30 * time.Millisecond, Loss: 0.1,
		Options: []Option{
			{Mode: ModePaused, Bitrate: 50_000},
			{Layer: "l", Height: 180, Mode: ModeKeyframes, Bitrate: 66_000},
			{Layer: "l", Height: 180, Mode: ModePartial, Temporal: 1, Bitrate: 130_000},
			{Layer: "l", Height: 180, Mode: ModeFull, Bitrate: 210_000},
			{Layer: "h", Height: 720, Mode: ModeFull, Bitrate: 1_650_000},
		},
	}, seen)
}

// A policy that panics is asked once. Then all that there is may be sent.
func TestPolicyPanics(t *testing.T) {
	var log bytes.Buffer
	asked := 0
	g := &guide{log: slog.New(slog.NewTextHandler(&log, nil)), policy: policyFunc(func(v View) Choice {
		asked++
		return Choice{Send: v.Options[99].Bitrate}
	})}
	for range 3 {
		require.Equal(t, allot.Decision{Fit: true, Range: allot.Range{Most: 4}}, g.decide(policyView()))
	}
	require.Equal(t, 1, asked)
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("level=ERROR")))
	require.Contains(t, log.String(), "policy_internal_test.go", "where")
}

// Each viewer has a policy of its own, which is made once. Without one, or where there is
// none for a viewer, the edge decides alone.
func TestPolicyOfEachViewer(t *testing.T) {
	made := 0
	a := Adapt{Policy: func() Policy { made++; return policyFunc(func(View) Choice { return Choice{} }) }}
	one := a.policies(nil)
	require.IsType(t, &allot.Guided{}, one())
	one()
	require.Equal(t, 1, made)
	a.policies(nil)
	require.Equal(t, 2, made)
	for _, a := range []Adapt{{}, {Policy: func() Policy { return nil }}} {
		require.IsType(t, &allot.Adaptive{}, a.policies(nil)())
	}
}
