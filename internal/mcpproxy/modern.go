package mcpproxy

import (
	"net/http"
	"strings"

	"rutile/internal/rawjson"
)

// modern serves one request of the stateless revision. The order of the checks
// is mcp.md 2.1.
func (in *inbound) modern(ans *answer) {
	m := &in.msg
	if m.kind == isResponse {
		ans.fail(badMessage(codeInvalidRequest, "a response is not accepted; 2026-07-28 servers send no requests"))
		return
	}
	if err := in.checkModern(); err != nil {
		ans.fail(err)
		return
	}
	if m.kind == isNotification {
		// Over HTTP a modern client has no notification to send (mcp.md rule 33).
		in.p.log.Debug("dropped a client notification", "method", m.name)
		in.w.WriteHeader(http.StatusAccepted)
		return
	}
	if m.method == nil || !m.method.modern || m.method.notify {
		ans.fail(methodNotFound(true))
		return
	}
	if in.all && in.aggregate(ans, nil) {
		return
	}
	c := &call{in: in, ans: ans, modern: true, req: in.request(version2026)}
	switch {
	case m.name == "server/discover":
		c.discover()
	case m.name == "subscriptions/listen":
		c.listen()
	case m.method.list != "":
		c.list()
	default:
		c.gated()
	}
}

// checkModern applies rules 20 to 24.
func (in *inbound) checkModern() *rpcError {
	m, h := &in.msg, in.r.Header
	if v, _, err := oneHeader(h, headerVersion); m.kind == isNotification && !m.meta.Exists() && err == nil && v == version2026 {
		return nil // only requests must have _meta, and clients that cancel send none
	}
	version, ok := m.meta.Get(metaVersion).Str()
	if !ok {
		return badRequest(codeInvalidParams, "/params/_meta/"+escapePointer(metaVersion)+" is required and must be a string")
	}
	if m.meta.Get(metaCapabilities).Kind() != rawjson.Object {
		return badRequest(codeInvalidParams, "/params/_meta/"+escapePointer(metaCapabilities)+" is required and must be an object")
	}
	got, present, err := oneHeader(h, headerVersion)
	switch {
	case err != nil:
		return err
	case !present:
		return mismatch("the header MCP-Protocol-Version is missing")
	case got != version:
		return mismatch("the header MCP-Protocol-Version differs from the version in _meta")
	case version != version2026:
		return unservedVersion(version)
	}
	if m.kind == isNotification {
		return nil
	}
	return checkMirror(h, m)
}

func unservedVersion(requested string) *rpcError {
	supported := served()
	if legacyVersion(requested) {
		// A legacy date in _meta: those revisions are not spoken this way.
		supported = []string{version2026}
	}
	data := []byte(`{"supported":[`)
	for i, v := range supported {
		if i > 0 {
			data = append(data, ',')
		}
		data = rawjson.AppendString(data, v)
	}
	data = rawjson.AppendString(append(data, `],"requested":`...), requested)
	return &rpcError{status: http.StatusBadRequest, code: codeVersion, msg: "this protocol version is not served", data: append(data, '}')}
}

func methodNotFound(modern bool) *rpcError {
	e := &rpcError{status: http.StatusOK, code: codeMethodNotFound, msg: "method not found"}
	if modern {
		e.status = http.StatusNotFound
	}
	return e
}

// unknownParams collects the Mcp-Param headers the tool's shape does not name:
// an intermediary must forward them (mcp.md 1.5).
func (in *inbound) unknownParams(sh *shape) []string {
	var extra []string
	for k, v := range in.r.Header {
		if !strings.HasPrefix(k, headerParam) || len(v) != 1 {
			continue
		}
		known := false
		for i := range sh.headers {
			known = known || sh.headers[i].header == k
		}
		if !known {
			extra = append(extra, k, v[0])
		}
	}
	return extra
}

func escapePointer(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
}
