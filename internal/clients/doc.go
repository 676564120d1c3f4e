// Package clients holds the tests with WebRTC clients that others wrote, as they
// are installed from Debian and npm: each publishes to an origin and plays from
// it, and plays behind a hop. A client that is not installed is skipped, and its
// test says how to install it; DELTA_REQUIRE_CLIENTS=1 makes that a failure.
//
// The scripts in drivers and the page in page speak WHIP and WHEP in the plainest
// way. They print what they see as lines of JSON; see client_test.go.
package clients
