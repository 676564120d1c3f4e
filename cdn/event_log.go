package cdn

import (
	"log/slog"
	"strconv"
	"time"
)

// LogEvents returns a function for [Config].OnEvent that logs each event that an operator
// wants to know in one line, at INFO. A node logs to its own [Config].Logger only what is
// no event, and what is wrong: with both, each thing that happens is one line.
// docs/logs.md has the lines.
func LogEvents(log *slog.Logger) func(Event) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return func(e Event) {
		switch e := e.(type) {
		case StreamStarted:
			log.Info("stream started", "stream", string(e.Stream))
		case StreamEnded:
			log.Info("stream ended", "stream", string(e.Stream), "err", e.Err)
		case InputChanged:
			log.Info("stream input changed", "stream", string(e.Stream), "publication", e.Publication, "epoch", e.Epoch)
		case UpstreamChanged:
			log.Info("stream comes from another node", "stream", string(e.Stream), "peer", string(e.Node), "url", e.URL, "standby", e.Standby, "err", e.Err)
		case LinkUp:
			log.Info("link up", "peer", string(e.Node), "url", e.URL)
		case LinkDown:
			log.Info("link down", "peer", string(e.Node), "url", e.URL, "lasted", e.Lasted.Round(time.Millisecond), "err", e.Err)
		case LinkAdapted:
			log.Info("a link holds layers back", "peer", string(e.Node), "url", e.URL, "layers", e.HeldBack, "lower", e.Lower, "reason", e.Reason, "estimate", int(e.Estimate))
		case SessionStarted:
			log.Info("session started", "stream", string(e.Stream), "session", e.Session, "action", e.Action.String(), "subject", e.Subject, "tag", e.Tag, "remote", e.RemoteAddr)
		case SessionEnded:
			log.Info("session ended", "stream", string(e.Stream), "session", e.Session, "action", e.Action.String(), "subject", e.Subject, "tag", e.Tag, "lasted", e.Lasted.Round(time.Millisecond), "err", e.Err)
		case ViewerSlow:
			log.Info("viewer is slow", "stream", string(e.Stream), "session", e.Session, "layer", e.Layer, "paused", e.Paused, "keyframes", e.Keyframes, "temporal", e.Temporal)
		case UplinkNarrow:
			u := e.Uplink
			log.Info("the publisher's uplink is narrow", "stream", string(e.Stream), "session", e.Session, "bitrate", int(u.Bitrate), "before", int(u.Before),
				"loss", percent(u.Loss), "queue", u.Queue.Round(time.Millisecond), "layers", u.Layers, "missing", u.Missing)
		case UplinkRecovered:
			log.Info("the publisher's uplink has recovered", "stream", string(e.Stream), "session", e.Session, "lasted", e.Lasted.Round(time.Millisecond), "bitrate", int(e.Uplink.Bitrate))
		case DelaysChanged: // a figure, which the statistics have
		case TrackUnplayable: // the edge warns of it
		}
	}
}

// percent returns a part of 1 in percent, rounded.
func percent(part float64) string { return strconv.Itoa(int(100*part+0.5)) + "%" }
