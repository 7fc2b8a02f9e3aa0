package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"strconv"
	"strings"
	"time"

	"rutile/internal/rawjson"
)

// The revisions asked with, and the codes of theirs that tell them apart.
const (
	version2026 = "2026-07-28"
	version2511 = "2025-11-25"

	codeVersion        = -32022 // the version is not served; data.supported lists those that are
	codeHeaderMismatch = -32020
	codeNoMethod       = -32601
)

// reply is the answer of a server to one JSON-RPC request of ours.
type reply struct {
	status    int
	result    rawjson.Value // Missing if there is none
	code      int64         // of an error, 0 if there is none
	fault     rawjson.Value
	spoken    bool // a JSON-RPC answer to the id we sent
	foreign   bool // a JSON-RPC result for an id nobody sent
	big       bool // cut at the bound
	began     []byte
	challenge []string // WWW-Authenticate
}

// message is one JSON-RPC request.
type message struct {
	method string
	params string // JSON
	note   bool   // a notification
}

func (m message) body(id string) []byte {
	if m.note {
		return []byte(`{"jsonrpc":"2.0","method":"` + m.method + `"}`)
	}
	return []byte(`{"jsonrpc":"2.0","id":"` + id + `","method":"` + m.method + `","params":` + m.params + `}`)
}

// post sends one JSON-RPC message and reads the answer to it. If the server
// opened a session that was not there, it is ended at once, whatever else
// happens, unless keep is told of it.
func (c *client) post(ctx context.Context, path string, m message, head map[string]string, keep func(session string)) (*reply, error) {
	id := newID()
	all := map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
	for k, v := range head {
		all[k] = v
	}
	a, err := c.ask(ctx, "POST", path, all, m.body(id))
	if err != nil {
		return nil, err
	}
	if s := a.header.Get("Mcp-Session-Id"); s != "" && s != head["Mcp-Session-Id"] {
		if keep == nil {
			defer c.endSession(ctx, path, s)
		} else {
			keep(s)
		}
	}
	rep := &reply{status: a.status, challenge: a.header.Values("WWW-Authenticate")}
	var raw []byte
	if kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type")); kind == "text/event-stream" {
		raw, err = a.event(stepTime, func(_, data string) bool { return strings.Contains(data, id) })
	} else {
		raw, err = a.read()
	}
	rep.big = errors.Is(err, errBig)
	rep.began = raw[:min(len(raw), 200)]
	if err == nil {
		rep.parse(raw, id)
	}
	return rep, nil
}

// endSession ends a session of ours. It is done also when the run ends.
func (c *client) endSession(ctx context.Context, path, session string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*stepTime)
	defer cancel()
	for range 2 { // once more where the connection had just been closed
		a, err := c.ask(ctx, "DELETE", path, map[string]string{"Mcp-Session-Id": session, "MCP-Protocol-Version": version2511}, nil)
		if err == nil {
			_, _ = a.read()
			return
		}
	}
}

// parse reads a JSON-RPC answer. Whatever is not exactly one answers nothing.
func (r *reply) parse(raw []byte, id string) {
	v, err := rawjson.Parse(bytes.TrimSpace(raw), rawjson.Limits{Bytes: maxBody})
	if err != nil || !v.Get("jsonrpc").Equals("2.0") {
		return
	}
	result, fault := v.Get("result"), v.Get("error")
	switch {
	case result.Exists() == fault.Exists():
		return
	case v.Get("id").Equals(id):
	case result.Exists():
		r.foreign = true
		return
	case r.status < 400:
		// An error that could not tell which request it is for has no id (JSON-RPC
		// 2.0, 5), or one of the server's own making; it is a refusal then.
		return
	}
	r.spoken, r.result, r.fault = true, result, fault
	r.code, _ = fault.Get("code").Int64()
}

// event reads server-sent events until one is wanted, and returns its data.
func (a *answer) event(limit time.Duration, wanted func(name, data string) bool) ([]byte, error) {
	defer a.close()
	timer := time.AfterFunc(limit, a.cancel)
	defer timer.Stop()
	return newEvents(a.body).until(wanted)
}

// events reads server-sent events, up to the bound of a body in all.
type events struct{ in *bufio.Reader }

func newEvents(r io.Reader) events {
	return events{bufio.NewReaderSize(io.LimitReader(r, maxBody), 4<<10)}
}

// until returns the data of the next event that is wanted.
func (e events) until(wanted func(name, data string) bool) ([]byte, error) {
	var name string
	var data []string
	for {
		line, err := e.in.ReadString('\n')
		if err != nil {
			return nil, errors.Join(errStream, err)
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			if text := strings.Join(data, "\n"); len(data) > 0 && wanted(name, text) {
				return []byte(text), nil
			}
			name, data = "", nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "data":
			data = append(data, value)
		}
	}
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return "rutile-" + hex.EncodeToString(b[:])
}

// modernRequest is a request of the stateless revision with its headers.
func (c *client) modernRequest(method string) (message, map[string]string) {
	params := `{"_meta":{"io.modelcontextprotocol/protocolVersion":"` + version2026 + `","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"rutile-discovery","version":"1"}}}`
	return message{method: method, params: params}, map[string]string{"MCP-Protocol-Version": version2026, "Mcp-Method": method}
}

// initialize is the first message of a legacy session.
func initialize() message {
	return message{method: "initialize", params: `{"protocolVersion":"` + version2511 + `","capabilities":{},"clientInfo":{"name":"rutile-discovery","version":"1"}}`}
}

// words returns the texts of a list, bounded in number and length.
func words(list rawjson.Value, most int) []string {
	var out []string
	for v := range list.Items() {
		if s, ok := v.Str(); ok && s != "" && len(out) < most {
			out = append(out, clip(s))
		}
	}
	return out
}

// keys returns the names of an object's members, bounded.
func keys(object rawjson.Value, most int) []string {
	var out []string
	for k := range object.Members() {
		if s, _ := k.Str(); len(out) < most {
			out = append(out, clip(s))
		}
	}
	return out
}

func text(v rawjson.Value) string {
	s, _ := v.Str()
	return clip(s)
}

func statusText(method, path, what string, status int) string {
	return method + " " + path + " " + what + ": " + strconv.Itoa(status)
}
