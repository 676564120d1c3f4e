package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile is how much of a configuration file, or of one with a secret, is read.
const maxFile = 1 << 20

// ReadFile reads a file that is not longer than it should be.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is longer than %d bytes", name, maxFile)
	}
	return b, err
}

// reader reads one YAML document. It goes through the nodes itself, since a decoder
// takes keys twice, and values of the wrong type.
type reader struct {
	name     string
	settings settings
	errs     []error
	lines    map[string]int // of keys that were seen
}

// parseFile reads what a file sets, or returns all that is wrong in it.
func parseFile(name string, text []byte) (settings, error) {
	r := &reader{name: name, settings: settings{}, lines: map[string]int{}}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return r.settings, nil // nothing but comments
		}
		return nil, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: there is more behind the first document, which has all settings", name)
	}
	root := doc.Content[0]
	if isEmpty(root) {
		return r.settings, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: it has to consist of keys and values, such as \"http: :8080\"", name, root.Line)
	}
	r.section("", root)
	return r.settings, errors.Join(r.errs...)
}

func (r *reader) fail(n *yaml.Node, key, format string, args ...any) {
	if key != "" {
		key += ": "
	}
	r.errs = append(r.errs, fmt.Errorf("%s:%d: %s%w", r.name, n.Line, key, fmt.Errorf(format, args...)))
}

func isEmpty(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// section reads the keys of a mapping.
func (r *reader) section(prefix string, n *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			r.fail(k, strings.TrimSuffix(prefix, "."), "%s", "a key is a word; nothing else is understood there")
			continue
		}
		key := prefix + k.Value
		if line, ok := r.lines[key]; ok {
			r.fail(k, key, "it is set in line %d already", line)
			continue
		}
		r.lines[key] = k.Line
		r.value(key, k, v)
	}
}

func (r *reader) value(key string, k, v *yaml.Node) {
	o, known := byKey[key]
	switch {
	case v.Kind == yaml.AliasNode || v.Anchor != "":
		r.fail(v, key, "anchors and aliases are not understood; write the value")
	case known:
		r.option(o, k, v)
	case !slices.Contains(sections, key):
		r.unknown(key, k, v)
	case isEmpty(v): // all that is in it is commented out
	case v.Kind == yaml.MappingNode:
		r.section(key+".", v)
	default:
		r.fail(v, key, "it is a section; its keys stand below it, indented")
	}
}

var sections = func() []string {
	all := map[string]bool{}
	for _, o := range options {
		for s := o.Section(); s != ""; s = (Option{Key: s}).Section() {
			all[s] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}()

func (r *reader) unknown(key string, k, v *yaml.Node) {
	known := slices.Sorted(maps.Keys(byKey))
	if v.Kind == yaml.MappingNode {
		known = sections
	}
	r.fail(k, quoted(key), "there is no such key; the nearest is %s", nearest(key, known))
}

// quoted is a key that may be anything.
func quoted(key string) string {
	const long = 100
	if len(key) > long {
		key = key[:long] + "…"
	}
	if q := fmt.Sprintf("%q", key); q != `"`+key+`"` {
		return q
	}
	return key
}

// option reads the value of an option.
func (r *reader) option(o Option, k, v *yaml.Node) {
	var values []string
	switch {
	case isEmpty(v):
		r.fail(k, o.Key, "there is no value; leave the line out for the default")
		return
	case v.Kind == yaml.MappingNode:
		r.fail(v, o.Key, "there are keys below it; it is %s", o.kind().word())
		return
	case v.Kind == yaml.SequenceNode && o.kind() != kindList:
		r.fail(v, o.Key, "there is a list; it is %s", o.kind().word())
		return
	case v.Kind == yaml.SequenceNode:
		for _, one := range v.Content {
			if one.Kind != yaml.ScalarNode || one.Anchor != "" || isEmpty(one) {
				r.fail(one, o.Key, "an element of the list is no text")
				return
			}
			values = append(values, one.Value)
		}
	case o.kind() == kindList:
		values = split(v.Value)
	case !fits(o.kind(), v):
		r.fail(v, o.Key, "%s is not right; it is %s", quoted(v.Value), o.kind().word())
		return
	default:
		values = []string{v.Value}
	}
	r.settings[o.Key] = setting{values: values, source: source{layer: layerFile, name: fmt.Sprintf("%s:%d: %s", r.name, k.Line, o.Key)}}
}

// fits reports whether YAML takes a scalar for what an option is. Text in quotes is no
// number, and true is no text.
func fits(k kind, v *yaml.Node) bool {
	switch k {
	case kindBool:
		return v.Tag == "!!bool"
	case kindInt:
		return v.Tag == "!!int"
	case kindFloat:
		return v.Tag == "!!int" || v.Tag == "!!float"
	case kindText:
		return v.Tag != "!!bool"
	case kindDuration, kindList:
	}
	return true
}
