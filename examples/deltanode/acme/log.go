package acme

import (
	"context"
	"log/slog"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapLogger has what certmagic logs come out of log, informations for those who debug.
func zapLogger(log *slog.Logger) *zap.Logger { return zap.New(&core{log: log}) }

type core struct {
	log *slog.Logger
}

// parts are what is logged on the way to a failure, whose own line says it all.
var parts = []string{"challenge failed", "validating authorization", "could not get certificate from issuer"}

func level(l zapcore.Level, message string) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel && !slices.Contains(parts, message):
		return slog.LevelWarn // it is tried again
	case l >= zapcore.ErrorLevel:
		return slog.LevelInfo
	case l == zapcore.WarnLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// Enabled implements zapcore.Core.
func (c *core) Enabled(l zapcore.Level) bool {
	return c.log.Enabled(context.Background(), level(l, ""))
}

// With implements zapcore.Core.
func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{log: c.log.With(args(fields)...)}
}

// Check implements zapcore.Core.
func (c *core) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.log.Enabled(context.Background(), level(e.Level, e.Message)) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	c.log.Log(context.Background(), level(e.Level, e.Message), "certificates: "+e.Message, args(fields)...) //nolint:sloglint // the message is certmagic's
	return nil
}

// Sync implements zapcore.Core.
func (c *core) Sync() error { return nil }

func args(fields []zapcore.Field) (all []any) {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(m)
	}
	for k, v := range m.Fields {
		all = append(all, slog.Any(k, v))
	}
	return all
}
