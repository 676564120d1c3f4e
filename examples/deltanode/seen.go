package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/otel"
	"github.com/deltacdn/delta/cdn/webhook"
	"github.com/deltacdn/delta/examples/deltanode/config"
)

// seen is what tells others what the node does.
type seen struct {
	tracer   cdn.Tracer            // nil: nobody wants traces
	provider *trace.TracerProvider // of tracer
	hooks    *webhook.Sender       // nil: nobody is told
	log      func(cdn.Event)
}

// openSeen gets webhooks and traces ready.
func (n *node) openSeen() (err error) {
	c, s := &n.config, &n.seen
	s.log = cdn.LogEvents(n.log.With("node", c.Node.Name))
	if len(c.Webhooks.URLs) > 0 {
		if s.hooks, err = webhook.New(n.webhooks(c.Webhooks)); err != nil {
			return fmt.Errorf("%s: %w", c.Where("webhooks.urls"), err)
		}
	}
	if c.Tracing.Endpoint != "" {
		if err := s.trace(n.closed, c); err != nil {
			return fmt.Errorf("%s: %w", c.Where("tracing.endpoint"), err)
		}
	}
	return nil
}

func (n *node) webhooks(c config.Webhooks) webhook.Config {
	var types []webhook.Type
	for _, e := range c.Events {
		types = append(types, webhook.Type(e))
	}
	out := webhook.Config{Node: cdn.NodeID(n.config.Node.Name), AllowPlain: c.AllowPlain, Logger: n.log}
	for _, u := range c.URLs {
		out.Endpoints = append(out.Endpoints, webhook.Endpoint{URL: u, Secrets: config.Lines(c.Secrets), Events: types})
	}
	return out
}

// trace has the node's spans sent to a collector. One that is away loses them, and
// nothing waits for it.
func (s *seen) trace(ctx context.Context, c *config.Config) error {
	options, err := exporter(c.Tracing)
	if err != nil {
		return err
	}
	export, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return err
	}
	what, err := resource.Merge(resource.Default(), resource.NewSchemaless(
		semconv.ServiceName("deltanode"), semconv.ServiceInstanceID(c.Node.Name),
	))
	if err != nil {
		return err
	}
	s.provider = trace.NewTracerProvider(
		trace.WithBatcher(export), trace.WithResource(what),
		trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(c.Tracing.Ratio))),
	)
	s.tracer = otel.New(otel.Config{Provider: s.provider})
	return nil
}

func exporter(c config.Tracing) ([]otlptracehttp.Option, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, err
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	headers := map[string]string{}
	for _, line := range config.Lines(c.Headers) {
		name, value, _ := strings.Cut(line, "=")
		headers[name] = value
	}
	return []otlptracehttp.Option{otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithHeaders(headers)}, nil
}

// event is told all that happens.
func (s *seen) event(e cdn.Event) {
	if s.hooks != nil {
		s.hooks.Event(e)
	}
	s.log(e)
}

// close sends what is left, for a moment.
func (s *seen) close() {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.hooks != nil {
		_ = s.hooks.Close(ctx) // what could not be sent in time is lost
	}
	if s.provider != nil {
		_ = s.provider.Shutdown(ctx)
	}
}
