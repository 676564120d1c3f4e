package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// A layer is where a setting comes from. Later ones override earlier ones.
type layer int

const (
	layerDefault layer = iota
	layerFile
	layerEnv
	layerFlag
)

type source struct {
	layer layer
	name  string // such as "-http", "DELTA_HTTP" or "deltanode.yaml:3: http"
}

type setting struct {
	values []string
	source source
}

type settings map[string]setting // by key

// Command is what the command line asks for besides settings.
type Command struct {
	Check   bool // say what the node would do, and end
	Version bool
}

// Load reads the command line, the environment (as of [os.Environ]), and the file that
// they name. Of [flag.ErrHelp] the help was written to output. The error tells all that
// is wrong, a line for each.
func Load(args, environ []string, output io.Writer) (Config, Command, error) {
	flags, cmd, file, err := parseFlags(args, output)
	if err != nil {
		return Config{}, cmd, err
	}
	if cmd.Version {
		return Config{}, cmd, nil
	}
	c := Config{sources: map[string]source{}}
	env := settings{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		c.addEnv(env, name, value, &file)
	}
	c.File = file
	inFile := settings{}
	if file != "" {
		text, err := ReadFile(file)
		if err != nil {
			return c, cmd, fmt.Errorf("-config: %w", err)
		}
		var wrong error
		if inFile, wrong = parseFile(file, text); wrong != nil {
			return c, cmd, errors.Join(wrong, c.apply(inFile, env, flags))
		}
		c.warnReadable(file, inFile)
	}
	if err := c.apply(inFile, env, flags); err != nil {
		return c, cmd, err
	}
	return c, cmd, c.check()
}

// addEnv takes a variable of the environment, if it is one of ours.
func (c *Config) addEnv(env settings, name, value string, file *string) {
	key, ours := strings.CutPrefix(name, envPrefix)
	switch {
	case !ours || isOthers(key):
		return
	case key == "CONFIG":
		if *file == "" {
			*file = value
		}
		return
	}
	var names []string
	for _, o := range options {
		if o.Env() == name {
			if value == "" && !o.guards() {
				return
			}
			values := []string{value}
			if o.kind() == kindList {
				values = split(value)
			}
			env[o.Key] = setting{values: values, source: source{layer: layerEnv, name: name}}
			return
		}
		names = append(names, o.Env())
	}
	if value == "" {
		return
	}
	c.Warnings = append(c.Warnings, fmt.Sprintf("the environment has %s, which is not known; the nearest is %s", quoted(name), nearest(name, names)))
}

// isOthers reports whether a variable is for "deltanode ctl", or for tests.
func isOthers(key string) bool {
	return strings.HasPrefix(key, "CTL_") || strings.HasPrefix(key, "TEST_") || strings.HasPrefix(key, "REQUIRE_")
}

func parseFlags(args []string, output io.Writer) (settings, Command, string, error) {
	var cmd Command
	var file string
	set := settings{}
	f := flag.NewFlagSet("deltanode", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&file, "config", "", "")
	f.BoolVar(&cmd.Check, "check", false, "")
	f.BoolVar(&cmd.Version, "version", false, "")
	var names []string
	for _, o := range options {
		names = append(names, o.Flag())
		f.Var(flagValue{o, set}, o.Flag(), "")
	}
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		WriteHelp(output)
		return nil, cmd, "", err
	case err != nil:
		if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
			err = fmt.Errorf("%w; the nearest is -%s", err, nearest(name, names))
		}
		return nil, cmd, "", err
	case f.NArg() > 0:
		return nil, cmd, "", fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return set, cmd, file, nil
}

// flagValue notes what a flag says.
type flagValue struct {
	option Option
	set    settings
}

func (v flagValue) String() string   { return "" }
func (v flagValue) IsBoolFlag() bool { return v.option.kind() == kindBool }

func (v flagValue) Set(text string) error {
	values := []string{text}
	if v.option.kind() == kindList {
		values = split(text)
	}
	v.set[v.option.Key] = setting{values: values, source: source{layer: layerFlag, name: "-" + v.option.Flag()}}
	return nil
}

// apply sets the fields, to the defaults where nothing else is said.
func (c *Config) apply(layers ...settings) error {
	all := settings{}
	var errs []error
	for _, l := range layers {
		errs = append(errs, override(all, l)...)
	}
	for _, o := range options {
		s, ok := all[o.Key]
		if !ok {
			if o.Default == "" {
				continue
			}
			s = setting{values: []string{o.Default}, source: source{name: o.Key}}
			if o.kind() == kindList {
				s.values = split(o.Default)
			}
		}
		if ok {
			c.sources[o.Key] = s.source
		}
		if err := c.set(o, s); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.source.name, err))
		}
	}
	return errors.Join(errs...)
}

// override puts the settings of l over those of all. A secret and a file with it override
// each other.
func override(all, l settings) (errs []error) {
	for _, o := range options {
		s, ok := l[o.Key]
		if !ok {
			continue
		}
		if o.fileOf != "" {
			if both, ok := l[o.fileOf]; ok {
				errs = append(errs, fmt.Errorf("%s: %s is there, too; set one of the two", s.source.name, both.source.name))
			}
			delete(all, o.fileOf)
		}
		if o.secret {
			delete(all, o.Key+"_file")
		}
		all[o.Key] = s
	}
	return errs
}

func (c *Config) set(o Option, s setting) error {
	if o.guards() && strings.TrimSpace(strings.Join(s.values, "")) == "" {
		return errors.New("it is empty, so it would protect nothing; leave it out if that is meant")
	}
	if o.fileOf != "" {
		text, err := c.readSecret(s)
		if err != nil {
			return err
		}
		return byKey[o.fileOf].set(c, []string{text})
	}
	if o.secret && s.source.layer == layerFlag {
		c.Warnings = append(c.Warnings, fmt.Sprintf("-%s is a secret, and everybody on this machine can read flags; use -%s-file or %s", o.Flag(), o.Flag(), o.Env()))
	}
	return o.set(c, s.values)
}

// readSecret reads a secret's file.
func (c *Config) readSecret(s setting) (string, error) {
	if len(s.values) != 1 {
		return "", errors.New("it is one file")
	}
	name := s.values[0]
	text, err := ReadFile(name)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if strings.TrimSpace(secret) == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	if othersRead(name) {
		c.Warnings = append(c.Warnings, fmt.Sprintf("everybody on this machine can read %s, which has a secret: chmod 600 %s", name, name))
	}
	return secret, nil
}

func othersRead(name string) bool {
	const worldReadable = 0o004
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&worldReadable != 0
}

// warnReadable warns of secrets in a configuration file that others can read.
func (c *Config) warnReadable(file string, s settings) {
	if !othersRead(file) {
		return
	}
	for _, o := range options {
		if _, ok := s[o.Key]; ok && o.secret {
			c.Warnings = append(c.Warnings, fmt.Sprintf("everybody on this machine can read %s, which has %s: chmod 600 %s, or use %s_file", file, o.Key, file, o.Key))
		}
	}
}

// IsSet reports whether a key was set, in whatever way.
func (c *Config) IsSet(key string) bool {
	_, ok := c.sources[key]
	_, file := c.sources[key+"_file"]
	return ok || file
}

// Where says where a key was set, or could be, for messages.
func (c *Config) Where(key string) string {
	for _, k := range []string{key, key + "_file"} {
		if s, ok := c.sources[k]; ok {
			return s.name
		}
	}
	if c.File != "" {
		return c.File + ": " + key
	}
	return "-" + byKey[key].Flag()
}

// Changed returns the keys of the options in which c and other differ, those that are
// taken over while the node runs apart from those that are not.
func (c *Config) Changed(other *Config) (live, restart []string) {
	for _, o := range options {
		if o.fileOf != "" || equal(o.field(c), o.field(other)) {
			continue
		}
		if o.Live {
			live = append(live, o.Key)
		} else {
			restart = append(restart, o.Key)
		}
	}
	return slices.Clip(live), slices.Clip(restart)
}
