// Package browser holds the tests that need a real browser: they start
// examples/threenode as a process and publish and play in Chromium. Without
// Chromium they skip; DELTA_REQUIRE_BROWSER=1 makes that a failure. Screenshots
// go to the folder artifacts, or to the one that DELTA_ARTIFACTS names.
package browser
