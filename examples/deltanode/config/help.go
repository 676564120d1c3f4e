package config

import (
	"fmt"
	"io"
	"strings"
)

const usage = `deltanode is one node of a CDN: an origin, a relay, an edge, or several of them.

  deltanode [flags]        runs the node until SIGTERM or an interrupt
  deltanode -config FILE   reads the settings of a file; flags override the
                           environment (DELTA_HTTP for -http), which overrides it
  deltanode -check         says what it would do, and ends: with 0, or 2 if something is wrong
  deltanode -version       says which version it is
  deltanode ctl            asks and commands running nodes (deltanode ctl -help)
  deltanode token          makes a JSON Web Token (deltanode token -help)
  deltanode sign-url       signs a URL (deltanode sign-url -help)

`

// WriteHelp writes what -help says.
func WriteHelp(w io.Writer) {
	fmt.Fprint(w, usage)
	section := ""
	for _, o := range options {
		if s, _, _ := strings.Cut(o.Section(), "."); s != section && s != "" {
			section = s
			fmt.Fprintf(w, "\n%s:\n", section)
		}
		fmt.Fprintf(w, "  -%s", o.Flag())
		if o.Arg != "" {
			fmt.Fprintf(w, " %s", o.Arg)
		}
		fmt.Fprintf(w, "\n        %s%s\n", o.Help, o.otherwise())
	}
}

func (o Option) otherwise() string {
	switch {
	case o.Else != "":
		return " (default: " + o.Else + ")"
	case o.Default == "" || o.Default == "false":
		return ""
	}
	return " (default " + o.Default + ")"
}

// WriteReference writes the tables of docs/deltanode.md.
func WriteReference(w io.Writer) {
	section := "-"
	for _, o := range options {
		s, _, _ := strings.Cut(o.Section(), ".")
		if s == "" {
			s = "general"
		}
		if s != section {
			section = s
			fmt.Fprintf(w, "\n### %s\n\n| key | flag | default | |\n|---|---|---|---|\n", section)
		}
		def := o.Else
		if def == "" && o.Default != "" {
			def = "`" + o.Default + "`"
		}
		help := o.Help
		if o.Live {
			help += ". SIGHUP"
		}
		fmt.Fprintf(w, "| `%s` | `-%s` | %s | %s |\n", o.Key, o.Flag(), def, strings.ReplaceAll(help, "|", `\|`))
	}
}
