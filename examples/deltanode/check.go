package main

import (
	"context"
	"fmt"
	"io"

	"github.com/deltacdn/delta/examples/deltanode/check"
	"github.com/deltacdn/delta/examples/deltanode/config"
)

// say writes what the node would do, and returns the exit code.
func say(w io.Writer, c config.Config) (code int) {
	for _, l := range check.Report(context.Background(), c, check.Machine{}) {
		fmt.Fprintln(w, l)
		if l.Kind == check.Error {
			code = exitUsage
		}
	}
	return code
}
