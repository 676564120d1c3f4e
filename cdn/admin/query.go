package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// readQuery fills the struct that into points to. A parameter that it does not have,
// or that is given twice, is an error.
func readQuery(values url.Values, into any) error {
	fields := map[string]reflect.StructField{}
	var v reflect.Value
	if into != nil {
		v = reflect.ValueOf(into).Elem()
		for _, f := range reflect.VisibleFields(v.Type()) {
			fields[f.Tag.Get("query")] = f
		}
	}
	for name, given := range values {
		f, known := fields[name]
		switch {
		case !known:
			return badQuery("There is no parameter %.40q.", name)
		case len(given) > 1:
			return badQuery("The parameter %s is given more than once.", name)
		}
		text, field := given[0], v.FieldByIndex(f.Index)
		if enum := f.Tag.Get("enum"); enum != "" && text != "" && !slices.Contains(strings.Split(enum, ","), text) {
			return badQuery("The parameter %s is one of %s.", name, enum)
		}
		if field.Kind() == reflect.Int {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > mostOnPage {
				return badQuery("The parameter %s is a number from 1 to %d.", name, mostOnPage)
			}
			field.SetInt(int64(n))
			continue
		}
		field.SetString(text)
	}
	return nil
}

// Pages have usualOnPage items unless asked for another number, and mostOnPage at
// most.
const (
	usualOnPage = 100
	mostOnPage  = 1000
)

func badQuery(format string, args ...any) error {
	return &refused{status: http.StatusBadRequest, code: "invalid", detail: fmt.Sprintf(format, args...)}
}

// onPage returns how many items a page has.
func onPage(limit int) int {
	if limit <= 0 {
		return usualOnPage
	}
	return min(limit, mostOnPage)
}
