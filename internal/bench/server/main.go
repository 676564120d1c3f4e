// Command server is one of the servers that internal/bench compares. It serves
// WHIP at /whip/NAME and WHEP at /whep/NAME until it is killed, and profiles at
// /debug/pprof/.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof" // served by the default mux
	"os"
	"time"
)

func main() {
	kind := flag.String("kind", "delta", "delta, delta-unpaced (bursts leave at once), delta-paced (also for viewers that are near), delta-pc (viewers by PeerConnections), delta-publishers-pc (publishers by PeerConnections), pion (a textbook fan-out), hop (an origin and an edge, two nodes), origin, edge (of the origin at -from), floor (prints what a packet costs at the least), ingest-floor (opens what -publishers send) or hog (takes processor time)")
	addr := flag.String("http", "127.0.0.1:8080", "address of the signaling")
	udp := flag.String("udp", "127.0.0.1:0", "address of Delta's UDP port")
	from := flag.String("from", "", "URL of the edge's origin")
	ports := flag.String("ports", "", "of the floor's receivers, on 127.0.0.1")
	window := flag.Duration("for", 3*time.Second, "how long the floor sends")
	sound := flag.Bool("sound", false, "the floor sends only the sound")
	publishers := flag.Int("publishers", 1, "of the ingest floor")
	flag.Parse()
	var err error
	switch *kind {
	case "floor":
		err = floor(*ports, *window, *sound)
	case "ingest-floor":
		err = ingestFloor(*publishers)
	case "hog":
		for { //nolint:staticcheck // to keep a core busy is what it is for
		}
	default:
		err = run(*kind, *addr, *udp, *from)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, *kind+":", err)
		os.Exit(1)
	}
}

func run(kind, addr, udp, from string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	var h http.Handler
	switch kind {
	case asIs, unpaced, paced, viewersPC, publishersPC:
		h, _, err = newDelta(udp, kind) // it lives as long as the process
	case "pion":
		h = newPion()
	case "origin":
		h, err = newOrigin(udp)
	case "edge":
		h, err = newEdge(udp, from)
	case "hop":
		h, err = newHop("http://" + listener.Addr().String())
	default:
		err = fmt.Errorf("no kind %q", kind)
	}
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.Handle("/debug/", http.DefaultServeMux)
	fmt.Println("serving", listener.Addr())
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	return s.Serve(listener)
}
