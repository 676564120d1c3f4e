package prom

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/deltacdn/delta/cdn"
)

// A sink is where metrics go.
type sink struct{ out chan<- prometheus.Metric }

// set tells the value of a gauge.
func (s sink) set(f *Family, v float64, values ...string) { s.add(f, v, labels(f.Labels, values...)) }

// count tells the value of a counter.
func (s sink) count(f *Family, n uint64, values ...string) {
	s.add(f, float64(n), labels(f.Labels, values...))
}

func (s sink) add(f *Family, v float64, l []*dto.LabelPair) { s.out <- &metric{f, v, l} }

// observe tells a histogram.
func (s sink) observe(f *Family, d cdn.Durations) {
	below, sum := make(map[float64]uint64), uint64(0)
	for i, bound := range cdn.DurationBuckets {
		sum += d.Buckets[i]
		below[bound.Seconds()] = sum
	}
	s.out <- prometheus.MustNewConstHistogram(f.desc, d.Count(), d.Sum.Seconds(), below)
}

// A metric is a counter or a gauge. Those of client_golang sort and copy the labels of
// each, which several have in common here.
type metric struct {
	family *Family
	value  float64
	labels []*dto.LabelPair
}

// Desc implements [prometheus.Metric].
func (m *metric) Desc() *prometheus.Desc { return m.family.desc }

// Write implements [prometheus.Metric].
func (m *metric) Write(out *dto.Metric) error {
	out.Label = m.labels
	if m.family.Type == "counter" {
		out.Counter = &dto.Counter{Value: &m.value}
	} else {
		out.Gauge = &dto.Gauge{Value: &m.value}
	}
	return nil
}

// labels returns pairs of names and values, sorted by name as the registry wants them.
func labels(names []string, values ...string) []*dto.LabelPair {
	pairs := make([]dto.LabelPair, len(names))
	all := make([]*dto.LabelPair, len(names))
	for i := range names {
		pairs[i].Name, pairs[i].Value = &names[i], &values[i]
		all[i] = &pairs[i]
	}
	slices.SortFunc(all, func(a, b *dto.LabelPair) int { return cmp.Compare(*a.Name, *b.Name) })
	return all
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
