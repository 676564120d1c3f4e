//go:build !race

package scoreboard

const raceEnabled = false
