// Package scoreboard runs estimate and choice, internal/send/bwe and internal/send/allot,
// against modeled viewers behind modeled paths, in virtual time and without
// goroutines: some thousand seconds in one of CPU time. The sender is modeled, too: see
// pacer_test.go and sender_test.go, which have to follow the rules of package send.
//
// Its tests run plans, among them those of RFC 8867, each with several seeds, hold
// what comes of them against bars, and compare one line a plan with a file in
// testdata. The line names the bars that are missed. With -update the tests write the
// file anew. Most plans run only with the build tag long.
//
// To see the steps that a policy takes in one plan:
//
//	SCOREBOARD_TRACE="variable" go test -run Trace -v ./internal/send/scoreboard
package scoreboard
