package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/natsdir"
	"github.com/deltacdn/delta/cdn/natsdir/embedded"
	"github.com/deltacdn/delta/cdn/redisdir"
	"github.com/deltacdn/delta/examples/deltanode/config"
)

// directory is where the node finds streams.
type directory struct {
	finds  cdn.Directory // nil: it is told of no other node
	shared bool          // nodes announce themselves: finds is a cdn.NodeDirectory
	closes []func()      // in order
}

// announces is where the node announces itself; nil: nowhere.
func (d *directory) announces() cdn.Directory {
	if d.shared {
		return d.finds
	}
	return nil
}

func (d *directory) close() {
	for _, f := range d.closes {
		f()
	}
}

func (n *node) openDirectory() (err error) {
	c := &n.config
	d := &n.directory
	d.shared = c.Network.Shared()
	switch c.Network.Directory {
	case "static":
		if len(c.Network.Entry) > 0 {
			d.finds = cdn.Static(c.Network.Entry...)
		}
	case "dns":
		d.finds, err = cdn.NewDNS(cdn.DNSConfig{Names: c.Network.Entry, Refresh: c.Network.DNS.Refresh, Logger: n.log})
	case "nats":
		err = n.openNATS()
	case "redis":
		err = n.openRedis()
	case "embedded":
		err = n.openEmbedded()
	}
	if err != nil {
		return fmt.Errorf("directory %s: %w", c.Network.Directory, err)
	}
	return nil
}

func (n *node) openNATS() error {
	c := n.config.Network.NATS
	options := append(natsdir.Options(), nats.Name("deltanode "+n.config.Node.Name))
	if c.User != "" {
		options = append(options, nats.UserInfo(c.User, c.Password))
	}
	if c.Token != "" {
		options = append(options, nats.Token(c.Token))
	}
	if c.Credentials != "" {
		options = append(options, nats.UserCredentials(c.Credentials))
	}
	if c.CA != "" {
		options = append(options, nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		options = append(options, nats.ClientCert(c.Cert, c.Key))
	}
	nc, err := nats.Connect(strings.Join(c.Servers, ","), options...)
	if err != nil {
		return err
	}
	n.directory.closes = []func(){nc.Close}
	return n.useNATS(nc, natsdir.Config{Prefix: c.Prefix, Logger: n.log})
}

// useNATS makes the directory, which is to be closed ahead of its connection.
func (n *node) useNATS(nc *nats.Conn, c natsdir.Config) error {
	dir, err := natsdir.New(nc, c)
	if err != nil {
		return err
	}
	d := &n.directory
	d.finds = dir
	d.closes = append([]func(){func() { _ = dir.Close() }}, d.closes...)
	return nil
}

func (n *node) openEmbedded() error {
	c := n.config.Network.Embedded
	ec := embedded.Config{
		Name: n.config.Node.Name, Listen: c.Listen, Advertise: c.Advertise, Seeds: c.Seeds, Logger: n.log,
	}
	if c.Password != "" {
		ec.User, ec.Password = "delta", c.Password
	}
	if c.Cert != "" {
		var err error
		if ec.TLS, err = mutualTLS(c); err != nil {
			return err
		}
	}
	server, err := embedded.Start(ec)
	if err != nil {
		return err
	}
	n.directory.closes = []func(){func() { _ = server.Close() }}
	nc, err := server.Connect()
	if err != nil {
		return err
	}
	n.directory.closes = append([]func(){nc.Close}, n.directory.closes...)
	return n.useNATS(nc, natsdir.Config{Reaches: server.Reaches, Logger: n.log})
}

func mutualTLS(c config.Embedded) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("embedded.cert_file: %w", err)
	}
	pool, err := readPool(x509.NewCertPool(), c.CA)
	if err != nil {
		return nil, fmt.Errorf("embedded.ca_file: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ServerName: c.ServerName, MinVersion: tls.VersionTLS12}, nil
}

func (n *node) openRedis() error {
	c := n.config.Network.Redis
	options := &redis.UniversalOptions{
		Addrs: c.Servers, MasterName: c.Master, IsClusterMode: c.Cluster, Username: c.User, Password: c.Password,
		SentinelPassword: c.SentinelPassword, DB: c.DB, ClientName: "deltanode", ContextTimeoutEnabled: true,
	}
	if c.TLS || c.CA != "" {
		options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if c.CA != "" {
		pool, err := readPool(x509.NewCertPool(), c.CA)
		if err != nil {
			return fmt.Errorf("redis.ca_file: %w", err)
		}
		options.TLSConfig.RootCAs = pool
	}
	client := redis.NewUniversalClient(options)
	n.directory.closes = []func(){func() { _ = client.Close() }}
	dir, err := redisdir.New(client, redisdir.Config{Prefix: c.Prefix, Logger: n.log})
	if err != nil {
		return err
	}
	n.directory.finds = dir
	n.directory.closes = append([]func(){func() { _ = dir.Close() }}, n.directory.closes...)
	return nil
}
