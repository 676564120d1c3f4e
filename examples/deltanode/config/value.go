package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn/urlauth"
)

// kind is the kind of an option's value.
type kind int

const (
	kindText kind = iota
	kindList
	kindBool
	kindInt
	kindFloat
	kindDuration
)

// word says what a value of the kind is, and gives one.
func (k kind) word() string {
	switch k {
	case kindText:
		return "text"
	case kindList:
		return "a list, such as [a, b]"
	case kindBool:
		return "true or false"
	case kindInt:
		return "a whole number"
	case kindFloat:
		return "a number"
	case kindDuration:
		return "a time with its unit, such as 30s or 5m"
	}
	return "unknown"
}

func kindOf(field any) kind {
	switch field.(type) {
	case *string:
		return kindText
	case *bool:
		return kindBool
	case *int:
		return kindInt
	case *float64:
		return kindFloat
	case *time.Duration:
		return kindDuration
	}
	return kindList
}

// set sets the field of c to the values, which are several only in a list.
func (o Option) set(c *Config, values []string) error {
	field := o.field(c)
	if o.kind() != kindList {
		if len(values) != 1 {
			return fmt.Errorf("%d values are given; it is %s", len(values), o.kind().word())
		}
		return o.setOne(field, values[0])
	}
	for _, v := range values {
		if err := o.checkText(v); err != nil {
			return err
		}
	}
	switch f := field.(type) {
	case *[]string:
		*f = values
	case *[]netip.Prefix:
		*f = (*f)[:0]
		for _, v := range values {
			p, err := parseNetwork(v)
			if err != nil {
				return err
			}
			*f = append(*f, p)
		}
	case *Roles:
		return f.set(values)
	}
	return nil
}

func (o Option) setOne(field any, text string) error {
	switch f := field.(type) {
	case *string:
		if err := o.checkText(text); err != nil {
			return err
		}
		*f = text
	case *bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
		*f = v
	case *int:
		v, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is no whole number, such as %s", text, o.example())
		}
		if err := o.checkRange(float64(v), strconv.Itoa(v), func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }); err != nil {
			return err
		}
		*f = v
	case *float64:
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%q is no number, such as %s", text, o.example())
		}
		if err := o.checkRange(v, text, func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }); err != nil {
			return err
		}
		*f = v
	case *time.Duration:
		v, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no time with its unit, such as %s", text, o.example())
		}
		if err := o.checkRange(v.Seconds(), v.String(), func(v float64) string { return Short(time.Duration(v * float64(time.Second))) }); err != nil {
			return err
		}
		*f = v
	}
	return nil
}

func (o Option) example() string {
	if o.Default != "" && o.Default != "0" && o.Default != "0s" {
		return o.Default
	}
	switch o.kind() {
	case kindDuration:
		return "30s"
	case kindFloat:
		return "0.5"
	default:
		return "100"
	}
}

func (o Option) checkRange(v float64, text string, say func(float64) string) error {
	if o.max > o.min && (v < o.min || v > o.max) {
		return fmt.Errorf("%s is out of range; it is from %s to %s", text, say(o.min), say(o.max))
	}
	return nil
}

func (o Option) checkText(text string) error {
	if o.lines {
		for _, line := range Lines(text) {
			if err := (Option{valid: o.valid}).checkText(line); err != nil {
				return err
			}
		}
		return nil
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("there is a control character in it")
	}
	if len(o.oneOf) > 0 && !slices.Contains(o.oneOf, text) {
		return fmt.Errorf("%q is none of %s", text, strings.Join(o.oneOf, ", "))
	}
	if o.valid != nil && text != "" {
		return o.valid(text)
	}
	return nil
}

// Short is a duration without the units that are zero: 5m, not 5m0s.
func Short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (r *Roles) set(values []string) error {
	*r = Roles{}
	for _, v := range values {
		switch v {
		case "origin":
			r.Origin = true
		case "relay":
			r.Relay = true
		case "edge":
			r.Edge = true
		}
	}
	if *r == (Roles{}) {
		return errors.New("there is none; it is one or several of origin, relay, edge")
	}
	return nil
}

func (r Roles) String() string {
	var all []string
	for _, one := range []struct {
		name string
		yes  bool
	}{{"origin", r.Origin}, {"relay", r.Relay}, {"edge", r.Edge}} {
		if one.yes {
			all = append(all, one.name)
		}
	}
	return strings.Join(all, ",")
}

func parseNetwork(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%q is no network, such as 10.0.0.0/8, and no address", text)
	}
	return p.Masked(), nil
}

// Lines splits a secret that consists of several. In the environment they stand in one
// line, with commas between.
func Lines(text string) []string {
	return split(strings.NewReplacer("\r\n", ",", "\n", ",").Replace(text))
}

// URLKeys reads auth.url_keys.
func URLKeys(text string) (keys []urlauth.Key) {
	for _, line := range Lines(text) {
		id, secret, _ := strings.Cut(line, ":")
		keys = append(keys, urlauth.Key{ID: id, Secret: []byte(secret)})
	}
	return keys
}

// split splits a list as flags and the environment have it.
func split(list string) []string {
	all := strings.Split(list, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}
