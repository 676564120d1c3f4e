package whep_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
)

// A WHEP server is made of whatever turns offers into sessions, such as an
// edge; here of one that follows a script.
func Example() {
	handler, _ := whep.New(&cdntest.ScriptedHandler{}, whep.Config{})
	defer handler.Close()
	mux := http.NewServeMux()
	mux.Handle("/whep/", handler)
	server := httptest.NewServer(mux)
	defer server.Close()

	client := &whep.Client{}
	session, err := client.Dial(context.Background(), server.URL+"/whep/live/camera1", signal.Offer{SDP: "v=0\r\n"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("an answer came:", session.SDP() != "")
	fmt.Println(session.Close(context.Background()))
	// Output:
	// an answer came: true
	// <nil>
}
