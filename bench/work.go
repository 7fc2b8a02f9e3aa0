package main

import (
	"bytes"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// work is one kind of request the targets are measured with.
type work struct {
	name   string
	what   string
	server string // it is asked of
	levels []int  // calls in flight; nil for those of -c, none where it is not measured by itself
	sdk    bool   // the pair of SDK ends takes part
}

// The servers of the upstream.
const (
	echoServer = "echo"
	manyServer = "many"
)

const (
	manyTools  = 1000
	grantedOf  = 900 // of them the agent may use
	bigResult  = 1 << 20
	grantedTag = "granted_"
	otherTag   = "other_"
)

var works = []work{
	{name: "call", what: "tools/call, 1 KiB, reply 0.25 KiB", server: echoServer, sdk: true},
	{name: "result", what: "tools/call, 1 KiB, reply 1 MiB", server: echoServer, levels: []int{8}},
	{name: "hold", what: "tools/call that the upstream does not end", server: echoServer, levels: []int{}},
	{name: "list", what: fmt.Sprintf("tools/list of %d tools, of which the agent may use %d", manyTools, grantedOf), server: manyServer, levels: []int{8}},
}

func workOf(name string) (work, bool) {
	for _, w := range works {
		if w.name == name {
			return w, true
		}
	}
	return work{}, false
}

// request is the bytes of one request of the work, with room for a nonce at
// mark, which is empty where the id has to do.
func (w work) request(u *url.URL, token string, number int) (raw []byte, mark string) {
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}`
	var method, name, body string
	if id := strconv.Itoa(number + 1); w.name == "list" {
		method = "tools/list"
		body = `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/list","params":{` + meta + `}}`
	} else {
		method, name = "tools/call", map[string]string{"call": "echo", "result": "big", "hold": "hold"}[w.name]
		mark = strings.Repeat("0", nonceDigits)
		body = `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"` + name + `","arguments":{"nonce":"` + mark + `","text":"`
		tail := `"},` + meta + `}}`
		body += strings.Repeat("lorem ipsum ", 100)[:1024-len(body)-len(tail)] + tail
	}
	head := "POST " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n" +
		"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: " + method + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	if name != "" {
		head += "Mcp-Name: " + name + "\r\n"
	}
	if token != "" {
		head += "Authorization: Bearer " + token + "\r\n"
	}
	return []byte(head + "\r\n" + body), mark
}

// wrong says what is wrong with an answer of the work, "" if nothing is. decides
// says that the target shows only what the agent may use.
func (w work) wrong(body, nonce []byte, number int, decides bool) string {
	switch {
	case bytes.Contains(body[:min(len(body), 4<<10)], []byte(`"isError":true`)):
		return "a tool error"
	case w.name == "list":
		last := fmt.Appendf(nil, `"%s%04d"`, grantedTag, grantedOf-1)
		if !bytes.Contains(body[:min(len(body), 128)], fmt.Appendf(nil, `"id":%d,`, number+1)) || !bytes.Contains(body, last) {
			return "another list"
		}
		if decides == bytes.Contains(body, []byte(`"`+otherTag)) {
			return "a list with what is not granted, or without what a forwarder shows"
		}
	case w.name == "result" && len(body) < bigResult:
		return "less than all of it"
	case !bytes.Contains(body[:min(len(body), 4<<10)], nonce):
		return "somebody else's call"
	}
	return ""
}
