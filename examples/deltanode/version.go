package main

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

// version says which program this is, of what the build knows.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "deltanode (unknown)"
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	commit := cmp.Or(settings["vcs.revision"], "unknown")
	if settings["vcs.modified"] == "true" {
		commit += " with changes"
	}
	return fmt.Sprintf("deltanode %s, commit %s, %s, %s/%s", cmp.Or(info.Main.Version, "(devel)"), commit, info.GoVersion, settings["GOOS"], settings["GOARCH"])
}

// shortVersion is what other nodes are told.
func shortVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return cmp.Or(info.Main.Version, "(devel)")
	}
	return "unknown"
}
