package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"

	"github.com/deltacdn/delta/examples/deltanode/config"
)

// runner runs a node until a signal ends it.
type runner struct {
	signals        <-chan os.Signal
	stdout, stderr io.Writer
	reload         func() (config.Config, error)
}

func (r *runner) run(c config.Config) error {
	level := new(slog.LevelVar)
	level.Set(levelOf(c.Log))
	log := logger(c.Log.Format, r.stderr, level)
	for _, w := range c.Warnings {
		log.Warn("the configuration", "what", w)
	}
	n, err := start(c, log, level)
	if err != nil {
		return err
	}
	defer n.close()
	fmt.Fprintf(r.stdout, "serving name=%s http=%s udp=%s%s roles=%s%s\n", n.node.ID(), n.url, n.node.Addr(), n.tcpField(), c.Node.Roles, n.admin.field())
	s, err := r.wait(n)
	if err != nil || s != syscall.SIGTERM || c.Node.Drain == 0 {
		return err
	}
	log.Warn("leaving; a second signal ends the node at once", "within", c.Node.Drain)
	return r.leave(n)
}

// tcpField is the part of the first line that says where clients without UDP come.
func (n *node) tcpField() string {
	if addr := n.node.TCPAddr(); addr != nil {
		return " tcp=" + addr.String()
	}
	return ""
}

// wait returns the signal that ends the node, or the error of a server.
func (r *runner) wait(n *node) (os.Signal, error) {
	for {
		select {
		case s := <-r.signals:
			if s != syscall.SIGHUP {
				return s, nil
			}
			n.reload(r.reload())
		case err := <-n.failed:
			return nil, err
		}
	}
}

// leave drains the node.
func (r *runner) leave(n *node) error {
	left := n.drain()
	for {
		select {
		case <-left:
			return nil
		case s := <-r.signals:
			if s != syscall.SIGHUP {
				return nil
			}
		case err := <-n.failed:
			return err
		}
	}
}

func levelOf(l config.Log) slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // it is one of four words
	if l.Verbose {
		level = min(level, slog.LevelInfo)
	}
	return level
}

func logger(format string, w io.Writer, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
