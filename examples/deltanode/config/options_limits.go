package config

// limitOptions are the limits of docs/limits.md.
var limitOptions = []Option{
	limit("sessions", "5000", "publishers, viewers and other nodes, together", func(c *Config) *int { return &c.Limits.Sessions }),
	limit("half_open", "1000", "of them, those whose client has not yet shown that it receives what is sent to it", func(c *Config) *int { return &c.Limits.HalfOpen }),
	limit("streams", "1000", "streams", func(c *Config) *int { return &c.Limits.Streams }),
	limit("links", "1000", "links with other nodes", func(c *Config) *int { return &c.Limits.Links }),
	limit("tracks", "8", "tracks of one stream", func(c *Config) *int { return &c.Limits.Tracks }),
	limit("layers", "8", "layers of one track", func(c *Config) *int { return &c.Limits.Layers }),
	limit("publishers", "", "publishers", func(c *Config) *int { return &c.Limits.Publishers }),
	limit("viewers", "", "viewers", func(c *Config) *int { return &c.Limits.Viewers }),
	limit("nodes", "", "streams that other nodes fetch, counted for each node", func(c *Config) *int { return &c.Limits.Nodes }),
	limit("stream_viewers", "", "viewers of one stream at this node", func(c *Config) *int { return &c.Limits.StreamViewers }),
	limit("stream_nodes", "", "other nodes that fetch one stream", func(c *Config) *int { return &c.Limits.StreamNodes }),
	limit("address_publishers", "", "publishers of one address (of IPv6: one /64)", func(c *Config) *int { return &c.Limits.AddressPublishers }),
	limit("address_viewers", "", "viewers of one address (of IPv6: one /64)", func(c *Config) *int { return &c.Limits.AddressViewers }),
	limit("publisher_bitrate", "", "bits a second of one publisher", func(c *Config) *int { return &c.Limits.PublisherBitrate }),
	limit("viewer_bitrate", "", "bits a second of one viewer", func(c *Config) *int { return &c.Limits.ViewerBitrate }),
}

func limit(name, def, help string, field func(*Config) *int) Option {
	o := Option{
		Key: "limits." + name, Arg: "number", Default: def, min: 1, max: huge, Live: true, Help: "most " + help,
		field: func(c *Config) any { return field(c) },
	}
	if def == "" {
		o.Default, o.min = "0", 0
		o.Help += "; 0: no limit"
	}
	return o
}
