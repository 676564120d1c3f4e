package slow

import "time"

type Config struct{ Patience time.Duration }
type Verdict int

const (
	Keep Verdict = iota
	Down
	Up
	Leave
)

type Detector struct{}

func New(Config) *Detector                              { return &Detector{} }
func (d *Detector) Report(now time.Time, f float64)     {}
func (d *Detector) Estimate(now time.Time, bps float64) {}
func (d *Detector) Sent(now time.Time, n int)           {}
func (d *Detector) Nacked(now time.Time, n int)         {}
func (d *Detector) Verdict(now time.Time) Verdict       { return Keep }
