package whip_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whip"
)

// A WHIP server is made of whatever turns offers into sessions, such as an
// origin; here of one that follows a script.
func Example() {
	handler, _ := whip.New(&cdntest.ScriptedHandler{}, whip.Config{})
	defer handler.Close()
	mux := http.NewServeMux()
	mux.Handle("/whip/", handler)
	server := httptest.NewServer(mux)
	defer server.Close()

	client := &whip.Client{}
	session, err := client.Dial(context.Background(), server.URL+"/whip/live/camera1", signal.Offer{SDP: "v=0\r\n"})
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
