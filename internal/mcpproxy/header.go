package mcpproxy

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"unicode/utf8"

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

const (
	sentinelOpen  = "=?base64?"
	sentinelClose = "?="
)

// encodeHeader returns the header form of s: as is where that is safe and
// unambiguous, otherwise base64 between the sentinels.
func encodeHeader(s string) string {
	plain := !looksEncoded(s)
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= 0x20 && s[i] <= 0x7e
	}
	if plain && (s == "" || (!blank(s[0]) && !blank(s[len(s)-1]))) {
		return s
	}
	return sentinelOpen + base64.StdEncoding.EncodeToString([]byte(s)) + sentinelClose
}

// decodeHeader returns the value a mirrored header stands for; ok is false if
// it is not a correct encoding of anything (rule 25). It decodes exactly once.
func decodeHeader(h string) (s string, ok bool) {
	h = strings.Trim(h, " \t")
	for i := 0; i < len(h); i++ {
		if (h[i] < 0x20 && h[i] != '\t') || h[i] > 0x7e {
			return "", false
		}
	}
	if !looksEncoded(h) {
		return h, true
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(h[len(sentinelOpen) : len(h)-len(sentinelClose)])
	if err != nil || strings.ContainsAny(h, "\r\n") || !utf8.Valid(raw) {
		return "", false
	}
	return string(raw), true
}

func looksEncoded(s string) bool {
	return len(s) >= len(sentinelOpen)+len(sentinelClose) && strings.HasPrefix(s, sentinelOpen) && strings.HasSuffix(s, sentinelClose)
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

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
	if got, ok := decodeHeader(v); !ok || got != want {
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
		want, given := paramText(args.Path(p.path...))
		switch {
		case given && !present:
			return mismatch("the header " + p.header + " is missing while its argument is given")
		case !given && present:
			return mismatch("the header " + p.header + " is given while its argument is not")
		case !given:
			continue
		}
		got, ok := decodeHeader(v)
		if !ok || (got != want && !sameNumber(got, args.Path(p.path...))) {
			return mismatch("the header " + p.header + " differs from its argument")
		}
	}
	return nil
}

// setParamHeaders writes the recognised Mcp-Param headers for the upstream.
func setParamHeaders(set func(name, value string), sh *shape, args rawjson.Value) {
	for _, p := range sh.headers {
		if s, ok := paramText(args.Path(p.path...)); ok {
			set(p.header, encodeHeader(s))
		}
	}
}

// paramText returns the text a scalar argument has in a header.
func paramText(v rawjson.Value) (string, bool) {
	switch v.Kind() {
	case rawjson.String:
		return v.Str()
	case rawjson.Number:
		if n, ok := v.Int64(); ok {
			return strconv.FormatInt(n, 10), true
		}
		return string(v.Raw()), true
	case rawjson.True:
		return "true", true
	case rawjson.False:
		return "false", true
	default:
		return "", false
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
	case !ok || name == "" || !token(name):
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

// token reports whether s is an RFC 9110 token.
func token(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return false
	}
	return s != ""
}
