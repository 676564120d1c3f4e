package signal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
)

// serve is a signaling of one's own: a JSON message with an offer comes in, one
// with the answer goes out. h may be an origin or an edge.
func serve(conn net.Conn, h signal.Handler) error {
	defer conn.Close()
	var request struct {
		Stream cdn.StreamID
		Offer  string
	}
	if err := json.NewDecoder(conn).Decode(&request); err != nil {
		return err
	}
	session, err := h.Offer(context.Background(), signal.Offer{Stream: request.Stream, SDP: request.Offer})
	if err != nil {
		return json.NewEncoder(conn).Encode(map[string]string{"error": err.Error()})
	}
	return json.NewEncoder(conn).Encode(map[string]string{"answer": session.SDP()})
}

// Signaling is a matter of calling one method.
func ExampleHandler() {
	client, server := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- serve(server, &cdntest.ScriptedHandler{}) }()

	request := map[string]string{"Stream": "live/camera1", "Offer": "v=0\r\n"}
	fmt.Println(json.NewEncoder(client).Encode(request))
	var response map[string]string
	fmt.Println(json.NewDecoder(client).Decode(&response))
	fmt.Println("an answer came:", response["answer"] != "")
	fmt.Println(<-done)
	// Output:
	// <nil>
	// <nil>
	// an answer came: true
	// <nil>
}
