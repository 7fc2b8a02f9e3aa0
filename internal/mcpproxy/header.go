package mcpproxy

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strings"

	"rutile/internal/mcpheader"
	"rutile/internal/rawjson"
)

// Names of the mirrored headers, in net/http's canonical form (mcp.md 1.5).
const (
	headerVersion = "Mcp-Protocol-Version"
	headerMethod  = "Mcp-Method"
	headerName    = "Mcp-Name"
	headerParam   = "Mcp-Param-"
	headerSession = "Mcp-Session-Id"
	headerLastID  = "Last-Event-Id"
)

func mismatch(msg string) *rpcError { return badRequest(codeHeaderMismatch, msg) }

// oneHeader returns the single value of a header. A repeated header is an
// error, because two readers could pick two values.
func oneHeader(h http.Header, name string) (value string, present bool, err *rpcError) {
	switch v := h[name]; len(v) {
	case 0:
		return "", false, nil
	case 1:
		return strings.Trim(v[0], " \t"), true, nil
	default:
		return "", true, mismatch("the header " + name + " is repeated")
	}
}

// checkMirror compares Mcp-Method and Mcp-Name with the body (rules 23, 24).
func checkMirror(h http.Header, m *message) *rpcError {
	v, present, err := oneHeader(h, headerMethod)
	switch {
	case err != nil:
		return err
	case !present:
		return mismatch("the header Mcp-Method is missing")
	case v != m.name:
		return mismatch("the header Mcp-Method differs from /method")
	}
	if m.method == nil || m.method.source == "" || !m.method.modern {
		return nil
	}
	v, present, err = oneHeader(h, headerName)
	if err != nil {
		return err
	}
	want, ok := m.params.Get(m.method.source).Str()
	if !ok {
		return invalidParams("/params/" + m.method.source + " must be a string")
	}
	if !present {
		return mismatch("the header Mcp-Name is missing")
	}
	if got, ok := mcpheader.Decode(v); !ok || got != want {
		return mismatch("the header Mcp-Name differs from /params/" + m.method.source)
	}
	return nil
}

// checkParamHeaders compares the recognised Mcp-Param headers of a tool call
// with its arguments (rule 26).
func checkParamHeaders(h http.Header, sh *shape, args rawjson.Value) *rpcError {
	for _, p := range sh.headers {
		v, present, err := oneHeader(h, p.header)
		if err != nil {
			return err
		}
		want, given := mcpheader.Text(args.Path(p.path...))
		switch {
		case given && !present:
			return mismatch("the header " + p.header + " is missing while its argument is given")
		case !given && present:
			return mismatch("the header " + p.header + " is given while its argument is not")
		case !given:
			continue
		}
		got, ok := mcpheader.Decode(v)
		if !ok || (got != want && !sameNumber(got, args.Path(p.path...))) {
			return mismatch("the header " + p.header + " differs from its argument")
		}
	}
	return nil
}

// setParamHeaders writes the recognised Mcp-Param headers for the upstream.
func setParamHeaders(set func(name, value string), sh *shape, args rawjson.Value) {
	for _, p := range sh.headers {
		if s, ok := mcpheader.Text(args.Path(p.path...)); ok {
			set(p.header, mcpheader.Encode(s))
		}
	}
}

// sameNumber compares by exact value, because a peer may write 42 as 42.0.
func sameNumber(got string, v rawjson.Value) bool {
	if v.Kind() != rawjson.Number {
		return false
	}
	n, err := rawjson.Parse([]byte(got), rawjson.Limits{})
	return err == nil && n.Kind() == rawjson.Number && bytes.Equal(rawjson.AppendCanonical(nil, n), rawjson.AppendCanonical(nil, v))
}

// paramHeader is one x-mcp-header annotation.
type paramHeader struct {
	header string   // "Mcp-Param-X", canonical
	path   []string // properties from the root of the arguments
}

// shape is what the proxy reads from a tool's definition, once.
type shape struct {
	digest  string // of the definition
	headers []paramHeader
	root    rawjson.Value // the input schema
	top     declaration   // of the arguments
	invalid string        // why the tool must not be offered, "" if it may be
}

// newShape reads a tool definition. An invalid x-mcp-header makes the whole
// tool invalid (mcp.md 1.5).
func newShape(definition []byte) *shape {
	sh := &shape{}
	v, err := rawjson.Parse(definition, rawjson.Limits{})
	if err != nil {
		sh.invalid = "its definition is not valid JSON"
		return sh
	}
	sh.root = v.Get("inputSchema")
	sh.top = sh.declare(sh.root)
	sh.walk(sh.root, nil, true, map[string]bool{}, 0)
	return sh
}

// walk collects annotations below schema. reachable says that only properties
// lead here from the root; an annotation anywhere else is invalid.
func (sh *shape) walk(schema rawjson.Value, path []string, reachable bool, seen map[string]bool, depth int) {
	if depth > 32 {
		return
	}
	switch schema.Kind() {
	case rawjson.Array:
		for v := range schema.Items() {
			sh.walk(v, path, false, seen, depth+1)
		}
		return
	case rawjson.Object:
	default:
		return
	}
	if x := schema.Get("x-mcp-header"); x.Exists() {
		sh.annotate(schema, x, path, reachable, seen)
	}
	for k, v := range schema.Members() {
		if !k.Equals("properties") {
			if !k.Equals("const") && !k.Equals("enum") && !k.Equals("default") && !k.Equals("examples") {
				sh.walk(v, path, false, seen, depth+1)
			}
			continue
		}
		for name, prop := range v.Members() {
			s, _ := name.Str()
			sh.walk(prop, append(path[:len(path):len(path)], s), reachable, seen, depth+1)
		}
	}
}

func (sh *shape) annotate(schema, x rawjson.Value, path []string, reachable bool, seen map[string]bool) {
	name, ok := x.Str()
	typ, _ := schema.Get("type").Str()
	key := strings.ToLower(name)
	switch {
	case !ok || name == "" || !mcpheader.Token(name):
		sh.invalid = "an x-mcp-header is not a header token"
	case seen[key]:
		sh.invalid = "an x-mcp-header is declared twice"
	case !reachable || len(path) == 0:
		sh.invalid = "an x-mcp-header stands where only properties may lead"
	case typ != "string" && typ != "integer" && typ != "boolean":
		sh.invalid = "an x-mcp-header is on something else than a string, integer or boolean"
	default:
		seen[key] = true
		sh.headers = append(sh.headers, paramHeader{header: textproto.CanonicalMIMEHeaderKey(headerParam + name), path: path})
	}
}
