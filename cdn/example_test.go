package cdn_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
)

func ExampleParseStreamID() {
	id, err := cdn.ParseStreamID("live/camera1")
	fmt.Println(id, err)
	_, err = cdn.ParseStreamID("live/../camera1")
	fmt.Println(errors.Is(err, cdn.ErrInvalid), err)
	// Output:
	// live/camera1 <nil>
	// true invalid request: stream id "live/../camera1" has the reserved element ".."
}

// The point of entry is a directory that answers the same for every stream.
func ExampleStatic() {
	entries, err := cdn.Static("https://o1.example.com", "https://o2.example.com").Find(context.Background(), "live/camera1")
	for _, e := range entries {
		fmt.Println(e.URL)
	}
	fmt.Println(err)
	// Output:
	// https://o1.example.com
	// https://o2.example.com
	// <nil>
}

// A name stands for all nodes that have it: one point of entry for each address, which
// is looked up again while the directory is in use. The resolver is one of the tests' here;
// without one it is the system's.
func ExampleNewDNS() {
	names := &cdntest.Names{}
	names.Set("edge.example.com", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"))
	names.SetSRV("_delta._tcp.example.com", net.SRV{Target: "spare.example.com.", Port: 8443})
	names.Set("spare.example.com", netip.MustParseAddr("192.0.2.2"))
	urls := []string{"https://edge.example.com", "https://_delta._tcp.example.com"}
	dir, _ := cdn.NewDNS(cdn.DNSConfig{Names: urls, Resolver: names})
	defer dir.Close()
	entries, err := dir.Find(context.Background(), "live/camera1")
	for _, e := range entries {
		fmt.Println(e.URL, e.At)
	}
	fmt.Println(err)
	// Output:
	// https://edge.example.com 192.0.2.1
	// https://edge.example.com 2001:db8::1
	// https://spare.example.com:8443 192.0.2.2
	// <nil>
}

// Nodes announce their streams in a directory under a lease. A publication that
// was superseded cannot come back.
func ExampleNewMemory() {
	ctx := context.Background()
	dir := cdn.NewMemory()
	announce := func(node cdn.NodeID, epoch uint64, hops int) error {
		return dir.Put(ctx, cdn.Entry{
			Stream: "demo", Node: node, URL: "https://" + string(node), Publication: "p", Epoch: epoch, Hops: hops,
		}, time.Minute)
	}
	fmt.Println(announce("relay", 2, 1), announce("origin", 2, 0))
	fmt.Println(errors.Is(announce("ghost", 1, 0), cdn.ErrStale))
	entries, _ := dir.Find(ctx, "demo")
	for _, e := range entries {
		fmt.Println(e.Node, e.Hops)
	}
	// Output:
	// <nil> <nil>
	// true
	// origin 0
	// relay 1
}

// nothing is a Source that has no streams.
type nothing struct{}

func (nothing) Open(_ context.Context, r cdn.Request) (*cdn.Subscription, error) {
	return nil, &cdn.Error{Op: "open", Stream: r.Stream, Err: cdn.ErrNotFound}
}

// First asks one source after the other, as io.MultiReader reads.
func ExampleFirst() {
	_, err := cdn.First(nothing{}, nothing{}).Open(context.Background(), cdn.Request{Stream: "demo"})
	fmt.Println(errors.Is(err, cdn.ErrNotFound), err)
	// Output:
	// true open demo: stream not found
}

// Nodes know each other by a secret, and clients show a token: an Authorizer leaves
// nodes to the secret in three lines.
func ExampleAuthorizer() {
	authorizer := cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
		if r.Trusted {
			return cdn.Grant{}, nil
		}
		if r.Credential != "token" {
			return cdn.Grant{}, cdn.ErrUnauthorized
		}
		return cdn.Grant{Subject: "alice"}, nil
	})
	node, _ := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", Trust: cdn.Trust{Secret: "0123456789abcdef0123456789abcdef"}, Authorizer: authorizer})
	defer node.Close()
	for _, r := range []cdn.AuthRequest{
		{Action: cdn.ActionFetch, Trusted: true}, // a node has shown the secret
		{Action: cdn.ActionPlay, Credential: "token"},
		{Action: cdn.ActionPlay, Credential: "other"},
	} {
		r.Stream = "live/camera1"
		_, err := node.Authorize(context.Background(), r)
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// play live/camera1: unauthorized
}

// A program reads a track, frame by frame, from the newest keyframe on. The stream may be
// published at this node, as here, or come from others by a relay.
func ExampleTrack_Reader() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	node, live := publishing(ctx) // a stream "demo" of Opus
	defer node.Close()

	sub, _ := live.Open(ctx, cdn.Request{Stream: "demo"})
	defer sub.Close()
	r, _ := sub.Stream().Tracks()[0].Reader(cdn.ReaderConfig{Keyframe: true})
	defer r.Close()
	for range 3 {
		f, err := r.ReadFrame(ctx)
		fmt.Printf("%x, lost ahead of it %d, %v\n", f.Data, f.Lost, err)
	}
	// Output:
	// f8fffe, lost ahead of it 0, <nil>
	// f8fffe, lost ahead of it 0, <nil>
	// f8fffe, lost ahead of it 0, <nil>
}

// publishing starts a node and publishes silence there until ctx or the node ends.
func publishing(ctx context.Context) (*cdn.Node, cdn.Source) {
	node, _ := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	live, _ := origin.New(node, origin.Config{})
	pub, err := live.Publish(ctx, origin.PublishRequest{Stream: "demo", Tracks: []cdn.TrackInfo{{Codec: cdn.Codec{MimeType: "audio/opus"}}}})
	if err != nil {
		panic(err)
	}
	go func() {
		for pub.Track("audio").WriteSample([]byte{0xf8, 0xff, 0xfe}, 20*time.Millisecond) == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return node, live
}
