// Package strictjson reads JSON objects that decide about something, from people
// who may want to be misunderstood. Where encoding/json takes the last of several
// members of one name, whatever its case, an object with such members is refused
// here.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxDepth is how many objects and arrays may be in one another.
const maxDepth = 16

// Object returns the members of the JSON object that data is, by their exact names.
// It fails if data is anything else, is not UTF-8, is nested deeper than 16 times, or
// has two members of one name in one object, at any depth, whatever their case.
func Object(data []byte) (Members, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	first, err := d.Token()
	if err != nil {
		return nil, err
	}
	if first != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	if err := object(d, 1); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	var members Members
	err = json.Unmarshal(data, &members)
	return members, err
}

// object reads the rest of an object.
func object(d *json.Decoder, depth int) error {
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if folded := strings.ToLower(name); seen[folded] {
			return fmt.Errorf("two members %.40q", name)
		} else {
			seen[folded] = true
		}
		if err := value(d, depth); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// value reads a value of an object or array that is depth deep.
func value(d *json.Decoder, depth int) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	switch {
	case !ok:
		return nil
	case depth >= maxDepth:
		return fmt.Errorf("nested deeper than %d times", maxDepth)
	case open == '{':
		return object(d, depth+1)
	}
	for d.More() {
		if err := value(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
