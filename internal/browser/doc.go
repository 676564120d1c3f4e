// Package browser holds the tests that need a real browser: they start
// examples/threenode as a process and publish and play in Chromium. Without
// Chromium they skip; DELTA_REQUIRE_BROWSER=1 makes that a failure. Those that look
// for what keeps people from using the pages need axe-core, which npm ci installs;
// DELTA_REQUIRE_AXE=1 makes it a failure that it is missing. Screenshots
// go to the folder artifacts, or to the one that DELTA_ARTIFACTS names.
package browser
