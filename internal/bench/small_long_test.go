//go:build long

package main

import (
	"os"
	"os/exec"
	"testing"
)

// Half a core and 2 GB, and ten minutes in which twice as many people want to view as
// fit. The machine should have nothing else to do. The command gives each side a core.
func TestSoakSmall(t *testing.T) {
	limited(t)
	cmd := exec.CommandContext(t.Context(), "go", "run", ".", "-small", "10m", "-gro")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
}
