package cdn

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLogger passes pion's messages on. What pion calls a warning or an error
// is mostly a client's misfortune, so it arrives one level lower.
type pionLogger struct{ log *slog.Logger }

func (f pionLogger) NewLogger(scope string) logging.LeveledLogger {
	return leveled{f.log.With("pion", scope)}
}

type leveled struct{ log *slog.Logger }

const levelTrace = slog.LevelDebug - 4

func (l leveled) print(level slog.Level, msg string) {
	l.log.Log(context.Background(), level, msg) //nolint:sloglint // the message is pion's
}

func (l leveled) printf(level slog.Level, format string, args ...any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, fmt.Sprintf(format, args...)) //nolint:sloglint // the message is pion's
	}
}

func (l leveled) Trace(msg string)                  { l.print(levelTrace, msg) }
func (l leveled) Tracef(format string, args ...any) { l.printf(levelTrace, format, args...) }
func (l leveled) Debug(msg string)                  { l.print(levelTrace, msg) }
func (l leveled) Debugf(format string, args ...any) { l.printf(levelTrace, format, args...) }
func (l leveled) Info(msg string)                   { l.print(slog.LevelDebug, msg) }
func (l leveled) Infof(format string, args ...any)  { l.printf(slog.LevelDebug, format, args...) }
func (l leveled) Warn(msg string)                   { l.print(slog.LevelDebug, msg) }
func (l leveled) Warnf(format string, args ...any)  { l.printf(slog.LevelDebug, format, args...) }
func (l leveled) Error(msg string)                  { l.print(slog.LevelInfo, msg) }
func (l leveled) Errorf(format string, args ...any) { l.printf(slog.LevelInfo, format, args...) }
