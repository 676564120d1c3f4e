//go:build race

package scoreboard

// raceEnabled is set where the race detector makes the plans ten times slower, and can
// find nothing: there is one goroutine.
const raceEnabled = true
