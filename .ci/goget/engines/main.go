// Command engines is a stranger's program with the directories on engines, which are
// modules of their own: it is built outside of this repository, without their replace
// lines. .ci/goget/run builds and runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/natsdir"
	"github.com/deltacdn/delta/cdn/natsdir/embedded"
	"github.com/deltacdn/delta/cdn/redisdir"
)

func main() {
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := errors.Join(onNATS(ctx), onRedis()); err != nil {
		log.Fatal("engines: ", err)
	}
	fmt.Println("engines: ok")
}

// onNATS has two nodes with a server each find what the other announces.
func onNATS(ctx context.Context) error {
	first, err := embedded.Start(embedded.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	defer func() { _ = first.Close() }()
	second, err := embedded.Start(embedded.Config{Listen: "127.0.0.1:0", Seeds: []string{first.Addr().String()}})
	if err != nil {
		return err
	}
	defer func() { _ = second.Close() }()
	var dirs []*natsdir.Directory
	for _, s := range []*embedded.Server{first, second} {
		nc, err := s.Connect()
		if err != nil {
			return err
		}
		defer nc.Close()
		d, err := natsdir.New(nc, natsdir.Config{Reaches: s.Reaches})
		if err != nil {
			return err
		}
		defer func() { _ = d.Close() }()
		dirs = append(dirs, d)
	}
	if err := dirs[0].Put(ctx, cdn.Entry{Stream: "live", Node: "one", URL: "https://one"}, time.Minute); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if found, err := dirs[1].Find(ctx, "live"); err == nil && len(found) == 1 {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("the second node does not find what the first announces")
}

// onRedis shows that the module builds, and says what is wrong where no server is.
func onRedis() error {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, ContextTimeoutEnabled: true})
	defer func() { _ = client.Close() }()
	d, err := redisdir.New(client, redisdir.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := d.Put(ctx, cdn.Entry{Stream: "live", Node: "one", URL: "https://one"}, time.Minute); err == nil {
		return errors.New("nothing is wrong with a server that is not there")
	}
	return nil
}
