package admin

import (
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write openapi.json anew")

type object = map[string]any

// TestOpenAPI: the description says what the routes and types of the code say, to the
// letter. `go test ./cdn/admin -run TestOpenAPI -update` writes it.
func TestOpenAPI(t *testing.T) {
	got, err := json.MarshalIndent(newDescriber(t).describe(), "", "  ")
	require.NoError(t, err)
	got = append(got, '\n')
	if *update {
		require.NoError(t, os.WriteFile("openapi.json", got, 0o600))
		return
	}
	require.Equal(t, string(got), string(description), "run the test with -update")
}

// describer makes the description from the routes, the types and their comments.
type describer struct {
	docs    map[string]string // by "Type" and "Type.Field"
	schemas object
}

func newDescriber(t *testing.T) *describer {
	d := &describer{docs: map[string]string{}, schemas: object{}}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		require.NoError(t, err)
		for _, decl := range f.Decls {
			if g, ok := decl.(*ast.GenDecl); ok && g.Tok == token.TYPE {
				d.readTypes(g)
			}
		}
	}
	return d
}

func (d *describer) readTypes(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		s := spec.(*ast.TypeSpec)
		d.docs[s.Name.Name] = text(g.Doc)
		fields, ok := s.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range fields.Fields.List {
			for _, name := range f.Names {
				d.docs[s.Name.Name+"."+name.Name] = text(f.Doc)
			}
		}
	}
}

func text(c *ast.CommentGroup) string {
	return strings.NewReplacer("[", "", "]", "", "\n", " ").Replace(strings.TrimSpace(c.Text()))
}

func (d *describer) describe() object {
	paths := object{}
	for _, r := range routes {
		if paths[r.path] == nil {
			paths[r.path] = object{}
		}
		paths[r.path].(object)[strings.ToLower(r.method)] = d.operation(r)
	}
	paths["/openapi.json"] = object{"get": object{
		"operationId": "getDescription", "summary": "This description.",
		"responses": object{"200": object{"description": "OK", "content": object{"application/json": object{"schema": object{"type": "object"}}}}},
	}}
	d.schema(reflect.TypeFor[Problem]())
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Delta admin API", "version": "1",
			"description": "Shows and changes a whole network of nodes from any one of them. Times are in RFC 3339, durations are numbers whose names end in their unit, and bit rates are in bits of payload a second.",
		},
		"servers":  []any{object{"url": Prefix}},
		"security": []any{object{"token": []any{}}, object{}},
		"paths":    paths,
		"components": object{
			"schemas": d.schemas,
			"securitySchemes": object{"token": object{
				"type": "http", "scheme": "bearer",
				"description": "A token of the node's configuration. Where that has none, clients on the node's machine need none.",
			}},
		},
	}
}

func (d *describer) operation(r route) object {
	op := object{"operationId": r.name, "summary": r.summary}
	var params []any
	if strings.Contains(r.path, "{id}") {
		params = append(params, object{"name": "id", "in": "path", "required": true, "schema": object{"type": "string"}, "description": `An ID. A "/" in it is written "%2F".`})
	}
	if r.query != nil {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(r.query)) {
			schema := d.schema(f.Type)
			if f.Type.Kind() == reflect.Int {
				schema["minimum"], schema["maximum"], schema["default"] = 1, mostOnPage, usualOnPage
			}
			enum(schema, f)
			p := object{"name": f.Tag.Get("query"), "in": "query", "schema": schema}
			if doc := d.docs[reflect.TypeOf(r.query).Name()+"."+f.Name]; doc != "" {
				p["description"] = doc
			}
			params = append(params, p)
		}
	}
	if r.writes && r.body == nil {
		params = append(params, object{
			"name": RequestHeader, "in": "header", "schema": object{"type": "string"},
			"description": "Any value. Needed unless the request has the content type application/json.",
		})
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.body != nil {
		op["requestBody"] = object{"content": object{"application/json": object{"schema": d.schema(reflect.TypeOf(r.body))}}}
	}
	op["responses"] = object{
		strconv.Itoa(r.status): object{
			"description": "Done.", "content": object{"application/json": object{"schema": d.schema(reflect.TypeOf(r.answer))}},
		},
		"default": object{
			"description": "A problem (RFC 9457).", "content": object{problemType: object{"schema": object{"$ref": "#/components/schemas/Problem"}}},
		},
	}
	if r.writes {
		op["description"] = "Needs a token that may write."
	}
	return op
}

func enum(schema object, f reflect.StructField) {
	if words := f.Tag.Get("enum"); words != "" {
		schema["enum"] = strings.Split(words, ",")
	}
}

// schema returns the JSON schema of a type. Structs are described once, by their name.
func (d *describer) schema(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer:
		return d.schema(t.Elem())
	case t.Kind() == reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case t.Kind() == reflect.Struct:
		d.structure(t)
		return object{"$ref": "#/components/schemas/" + t.Name()}
	case t.Kind() == reflect.String:
		return object{"type": "string"}
	case t.Kind() == reflect.Bool:
		return object{"type": "boolean"}
	case t.Kind() == reflect.Float64:
		return object{"type": "number"}
	}
	return object{"type": "integer"}
}

func (d *describer) structure(t reflect.Type) {
	if d.schemas[t.Name()] != nil {
		return
	}
	s := object{"type": "object", "additionalProperties": false}
	d.schemas[t.Name()] = s
	if doc := d.docs[t.Name()]; doc != "" {
		s["description"] = doc
	}
	properties, required := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		schema := d.schema(f.Type)
		enum(schema, f)
		if doc := d.docs[t.Name()+"."+f.Name]; doc != "" {
			schema["description"] = doc
		}
		properties[name] = schema
		if !strings.Contains(options, "omitempty") && !d.isInput(t) {
			required = append(required, name)
		}
	}
	s["properties"] = properties
	if len(required) > 0 {
		s["required"] = required
	}
}

// isInput reports whether a type is a body of requests, of which nothing is required.
func (d *describer) isInput(t reflect.Type) bool {
	return slices.ContainsFunc(routes, func(r route) bool {
		return r.body != nil && reflect.TypeOf(r.body) == t && reflect.TypeOf(r.answer) != t
	})
}

// validate returns what is wrong with a value by a schema of the description, as far as
// the description uses JSON Schema.
func validate(doc, schema object, at string, v any) (wrong []string) {
	if ref, ok := schema["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/components/schemas/")
		return validate(doc, doc["components"].(object)["schemas"].(object)[name].(object), at, v)
	}
	bad := func(what string) { wrong = append(wrong, at+": "+what) }
	switch schema["type"] {
	case "object":
		o, ok := v.(object)
		if !ok {
			bad("no object")
			break
		}
		properties, _ := schema["properties"].(object)
		for name, value := range o {
			if p, known := properties[name].(object); known {
				wrong = append(wrong, validate(doc, p, at+"."+name, value)...)
			} else if schema["additionalProperties"] == false {
				bad("unknown property " + name)
			}
		}
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := o[name.(string)]; !ok {
				bad("no property " + name.(string))
			}
		}
	case "array":
		all, ok := v.([]any)
		if !ok {
			bad("no array")
		}
		for i, item := range all {
			wrong = append(wrong, validate(doc, schema["items"].(object), at+"["+strconv.Itoa(i)+"]", item)...)
		}
	case "string":
		s, ok := v.(string)
		if !ok {
			bad("no string")
		}
		if words, ok := schema["enum"].([]any); ok && !slices.Contains(words, any(s)) {
			bad("not one of the enum: " + s)
		}
		if _, err := time.Parse(time.RFC3339Nano, s); schema["format"] == "date-time" && err != nil {
			bad("no time: " + s)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			bad("no boolean")
		}
	case "number":
		if _, ok := v.(float64); !ok {
			bad("no number")
		}
	case "integer":
		if n, ok := v.(float64); !ok || n != float64(int64(n)) {
			bad("no integer")
		}
	default:
		bad("a schema without a type")
	}
	return wrong
}

// agrees asserts that an answer is what the description says of that operation.
func agrees(t *testing.T, method, path string, status int, contentType string, body []byte) {
	t.Helper()
	var doc object
	require.NoError(t, json.Unmarshal(description, &doc))
	op, ok := doc["paths"].(object)[path].(object)[strings.ToLower(method)].(object)
	require.True(t, ok, "%s %s is not described", method, path)
	responses := op["responses"].(object)
	response, ok := responses[strconv.Itoa(status)].(object)
	if !ok {
		response = responses["default"].(object)
	}
	content := response["content"].(object)
	require.Equal(t, []string{contentType}, slices.Collect(maps.Keys(content)))
	var v any
	require.NoError(t, json.Unmarshal(body, &v))
	require.Empty(t, validate(doc, content[contentType].(object)["schema"].(object), path, v), string(body))
}

// TestValidate shows that the validator of these tests finds faults.
func TestValidate(t *testing.T) {
	var doc object
	require.NoError(t, json.Unmarshal(description, &doc))
	ref := object{"$ref": "#/components/schemas/Result"}
	for body, bad := range map[string]bool{
		`{"node": "a", "ok": true, "ended": 1}`:            false,
		`{"node": "a", "ok": true}`:                        true,
		`{"node": "a", "ok": true, "ended": 1.5}`:          true,
		`{"node": "a", "ok": "true", "ended": 1}`:          true,
		`{"node": "a", "ok": true, "ended": 1, "more": 1}`: true,
		`[]`: true,
	} {
		var v any
		require.NoError(t, json.Unmarshal([]byte(body), &v))
		require.Equal(t, bad, len(validate(doc, ref, "", v)) > 0, body)
	}
	for schema, v := range map[string]any{
		`{"type": "string", "enum": ["a"]}`:              "b",
		`{"type": "string", "format": "date-time"}`:      "yesterday",
		`{"type": "array", "items": {"type": "number"}}`: []any{"1"},
		`{"type": "boolean"}`:                            1.0,
	} {
		var s object
		require.NoError(t, json.Unmarshal([]byte(schema), &s))
		require.NotEmpty(t, validate(doc, s, "", v), schema)
	}
}
