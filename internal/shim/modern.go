package shim

import (
	"net/http"
	"slices"
	"strings"

	"rutile/internal/mcpheader"
	"rutile/internal/rawjson"
)

// Bounds of what is remembered of listings.
const (
	maxTools = 10_000
	maxPages = 100
)

// modern makes a request of the stateless revision.
func (s *Shim) modern(f *flight) *failure {
	for tried := false; ; tried = true {
		resp, fault := s.send(f.ctx, http.MethodPost, f.raw, s.mirror(f))
		if fault != nil {
			return fault
		}
		again := false
		fault = s.relay(f, resp, func(answer rawjson.Value) []byte {
			if f.method == "tools/list" {
				s.learn(answer)
			}
			code, _ := answer.Path("error", "code").Int64()
			if again = !tried && f.method == "tools/call" && code == codeHeaderMismatch; again {
				return nil
			}
			return answer.Raw()
		})
		if !again {
			return fault
		}
		// Nothing was done: the headers were judged first. The tool mirrors
		// arguments this client has not listed, or others than it did.
		s.list(f)
	}
}

// mirror makes the headers that repeat parts of the body (mcp.md 1.5).
func (s *Shim) mirror(f *flight) http.Header {
	h := headers(mcpheader.Encode(f.version))
	h.Set("Mcp-Method", f.method)
	member := ""
	switch f.method {
	case "tools/call", "prompts/get":
		member = "name"
	case "resources/read":
		member = "uri"
	case "tasks/get", "tasks/update", "tasks/cancel":
		member = "taskId"
	}
	name, ok := f.params.Get(member).Str()
	if ok {
		h.Set("Mcp-Name", mcpheader.Encode(name))
	}
	if f.method != "tools/call" || !ok {
		return h
	}
	s.mu.Lock()
	params := s.params[name]
	s.mu.Unlock()
	for _, p := range params {
		if text, ok := mcpheader.Text(f.params.Get("arguments").Path(p.path...)); ok {
			h.Set("Mcp-Param-"+p.name, mcpheader.Encode(text))
		}
	}
	return h
}

// headerValue reports whether s may stand in a header as it is.
func headerValue(s string) bool { return mcpheader.Plain(s) && !strings.Contains(s, " ") }

// param is an argument of a tool that is mirrored in a header.
type param struct {
	name string   // after Mcp-Param-
	path []string // properties from the root of the arguments
}

// learn remembers which arguments the listed tools mirror.
func (s *Shim) learn(answer rawjson.Value) {
	for tool := range answer.Path("result", "tools").Items() {
		name, ok := tool.Get("name").Str()
		if !ok {
			continue
		}
		found := annotated(tool.Get("inputSchema"), nil, nil)
		s.mu.Lock()
		if len(found) == 0 {
			delete(s.params, name)
		} else if _, known := s.params[name]; known || len(s.params) < maxTools {
			s.params[name] = found
		}
		s.mu.Unlock()
	}
}

// annotated collects the annotations that properties alone lead to. Of others
// there are none: the gateway offers no tool that has one.
func annotated(schema rawjson.Value, path []string, found []param) []param {
	if len(path) > 32 {
		return found
	}
	if name, ok := schema.Get("x-mcp-header").Str(); ok && mcpheader.Token(name) && len(path) > 0 {
		found = append(found, param{name, slices.Clone(path)})
	}
	for key, prop := range schema.Get("properties").Members() {
		name, _ := key.Str()
		found = annotated(prop, append(path[:len(path):len(path)], name), found)
	}
	return found
}

// list lists the tools for the shim itself, with the words of the client's own
// request about itself.
func (s *Shim) list(f *flight) {
	meta := f.params.Get("_meta")
	if e, ok := rawjson.DeleteMember(meta, "progressToken"); ok {
		start, _ := meta.Span()
		own := rawjson.Splice(meta.Raw(), rawjson.Edit{Start: e.Start - start, End: e.End - start})
		if v, err := rawjson.Parse(own, rawjson.Limits{}); err == nil {
			meta = v
		}
	}
	cursor := rawjson.Value{}
	for range maxPages {
		const id = `"rutile-connect-list"`
		body := append([]byte(`{"jsonrpc":"2.0","id":`+id+`,"method":"tools/list","params":{"_meta":`), meta.Raw()...)
		if cursor.Exists() {
			body = append(append(body, `,"cursor":`...), cursor.Raw()...)
		}
		h := headers(mcpheader.Encode(f.version))
		h.Set("Mcp-Method", "tools/list")
		answer, fault := s.ask(f.ctx, []byte(id), append(body, `}}`...), h)
		if fault != nil {
			return // the call, made again, says what is wrong
		}
		s.learn(answer)
		if cursor = answer.Path("result", "nextCursor"); cursor.Kind() != rawjson.String {
			return
		}
	}
}
