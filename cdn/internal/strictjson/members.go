package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode"
)

// Members are those of an object, by their names. Their methods leave a value as it is
// where the object has no such member, and fail where it has one of another type, which
// null is for all of them.
type Members map[string]json.RawMessage

// maxTexts is how many texts a list may have.
const maxTexts = 64

// Text reads a text of limit bytes at most, without control characters.
func (m Members) Text(name string, limit int, into *string) error {
	return m.read(name, func(data json.RawMessage) error { return text(data, limit, into) })
}

// Texts reads a text or a list of 64 texts at most, as Text does.
func (m Members) Texts(name string, limit int, into *[]string) error {
	return m.read(name, func(data json.RawMessage) error {
		var one string
		if data[0] == '"' {
			err := text(data, limit, &one)
			*into = []string{one}
			return err
		}
		var list []json.RawMessage
		if json.Unmarshal(data, &list) != nil || list == nil {
			return errors.New("it is neither a text nor a list of texts")
		}
		if len(list) > maxTexts {
			return fmt.Errorf("it has %d texts, %d are allowed", len(list), maxTexts)
		}
		*into = make([]string, len(list))
		for i, item := range list {
			if err := text(item, limit, &(*into)[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Number reads a number from least to most.
func (m Members) Number(name string, least, most float64, into *float64) error {
	return m.read(name, func(data json.RawMessage) error {
		var n *float64
		if json.Unmarshal(data, &n) != nil || n == nil {
			return errors.New("it is no number")
		}
		if *n < least || *n > most {
			return fmt.Errorf("it is not from %g to %g", least, most)
		}
		*into = *n
		return nil
	})
}

// Whole reads a number as Number does, and drops its fraction.
func (m Members) Whole(name string, least, most float64, into *int) error {
	n := float64(*into)
	err := m.Number(name, least, most, &n)
	if err == nil {
		*into = int(n)
	}
	return err
}

// maxTime is the last second that Time takes, some 35,000 years from now.
const maxTime = 1 << 40

// Time reads a number of seconds since 1970, as RFC 7519 section 2 has it. It may have a
// fraction.
func (m Members) Time(name string, into *time.Time) error {
	seconds := -1.0
	err := m.Number(name, 0, maxTime, &seconds)
	if err == nil && seconds >= 0 {
		whole, fraction := math.Modf(seconds)
		*into = time.Unix(int64(whole), int64(fraction*1e9))
	}
	return err
}

func (m Members) read(name string, read func(json.RawMessage) error) error {
	data, ok := m[name]
	if !ok {
		return nil
	}
	if err := read(data); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}

func text(data json.RawMessage, limit int, into *string) error {
	var s *string
	if json.Unmarshal(data, &s) != nil || s == nil {
		return errors.New("it is no text")
	}
	if len(*s) > limit {
		return fmt.Errorf("it has %d bytes, %d are allowed", len(*s), limit)
	}
	for _, r := range *s {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return errors.New("it has a control character, or half of one")
		}
	}
	*into = *s
	return nil
}
