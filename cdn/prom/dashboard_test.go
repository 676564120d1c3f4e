package prom_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/prom"
)

type dashboard struct {
	Title      string
	Templating struct {
		List []struct {
			Name, Definition string
		}
	}
	Panels []struct {
		ID      int
		Title   string
		Type    string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ Expr, LegendFormat string }
	}
}

var (
	selector = regexp.MustCompile(`\b([a-z]+_[a-z0-9_]+)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-z]+)=~?"`)
	legend   = regexp.MustCompile(`\{\{([a-z]+)\}\}`)
	variable = regexp.MustCompile(`\$([a-z]+)\b`)
)

// fromElsewhere are the metrics of the process that Handler adds.
var fromElsewhere = []string{"process_cpu_seconds_total", "process_resident_memory_bytes"}

// Each query of the dashboard asks for metrics that there are, by labels that they have,
// and no two panels overlap.
func TestDashboard(t *testing.T) {
	raw, err := os.ReadFile("../../docs/grafana/delta.json")
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(raw, &d))
	require.Equal(t, "Delta", d.Title)
	variables := make(map[string]bool)
	for _, v := range d.Templating.List {
		variables[v.Name] = true
		for _, m := range name.FindAllString(v.Definition, -1) {
			require.True(t, known(m), m)
		}
	}
	ids, cells := make(map[int]bool), make(map[[2]int]string)
	queries := 0
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], "%d twice", p.ID)
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				require.Less(t, at[0], 24, p.Title)
				require.Empty(t, cells[at], "%s lies over %s", p.Title, cells[at])
				cells[at] = p.Title
			}
		}
		require.Equal(t, p.Type != "row", len(p.Targets) > 0, p.Title)
		for _, q := range p.Targets {
			queries++
			checkQuery(t, q.Expr, q.LegendFormat)
			for _, v := range variable.FindAllStringSubmatch(q.Expr, -1) {
				require.True(t, variables[v[1]], "%s in %s", v[1], q.Expr)
			}
		}
	}
	require.Greater(t, queries, 30)
}

// checkQuery asserts that a query is of known metrics and their labels.
func checkQuery(t *testing.T, expr, legendFormat string) {
	t.Helper()
	require.Equal(t, strings.Count(expr, "("), strings.Count(expr, ")"), expr)
	selected := selector.FindAllStringSubmatch(expr, -1)
	require.NotEmpty(t, selected, expr)
	for _, m := range name.FindAllString(expr, -1) {
		require.True(t, known(m), "%s in %s", m, expr)
	}
	for _, s := range selected {
		metric, labels := s[1], []string{"instance", "job", "le"}
		if strings.HasPrefix(metric, "delta_") {
			for _, f := range prom.Families() {
				if f.Name == metric {
					labels = append(labels, f.Labels...)
				}
			}
		} else {
			require.Contains(t, fromElsewhere, metric)
		}
		for _, l := range matcher.FindAllStringSubmatch(s[2], -1) {
			require.True(t, slices.Contains(labels, l[1]), "%s has no label %s: %s", metric, l[1], expr)
		}
		for _, l := range legend.FindAllStringSubmatch(legendFormat, -1) {
			require.True(t, slices.Contains(labels, l[1]), "%s has no label %s: %s", metric, l[1], legendFormat)
		}
	}
}
