package traffic

import (
	"net/url"
	"strings"

	"rutile/internal/rawjson"
)

// Names that common logs in JSON lines give the parts of a request: Envoy, Istio,
// Caddy, nginx, Traefik, HAProxy, mitmproxy and what people write themselves. A
// dot leads into an object; comparison ignores case and takes "_" for "-".
var (
	hostNames   = []string{"host", ":authority", "authority", "http_host", "request.host", "request_host", "requesthost", "server_name", "upstream_host", "server", "destination", "dst_host", "request.headers.host"}
	portNames   = []string{"port", "server_port", "request.port", "dst_port", "requestport"}
	urlNames    = []string{"url", "request_url", "full_url", "url.full", "request.url", "http.url", "requesturl"}
	pathNames   = []string{"path", "uri", "request_uri", "request.uri", "request.path", "requestpath", "x-envoy-original-path", "cs-uri-stem", "url.path"}
	methodNames = []string{"method", "request_method", "http_method", "request.method", "requestmethod", ":method", "http.request.method"}
	schemeNames = []string{"scheme", "request_scheme", "request.scheme", "requestscheme", "x-forwarded-proto", "proto_scheme"}
	statusNames = []string{"status", "response_code", "status_code", "response.status_code", "downstreamstatus", "response.status"}
	personNames = []string{"user", "username", "remote_user", "user_id", "email", "request.user", "clientusername", "principal", "sub"}
	fromNames   = []string{"client_ip", "remote_addr", "clientip", "source_ip", "src_ip", "request.remote_ip", "request.client_ip", "clienthost", "client", "downstream_remote_address", "client.address"}
	timeNames   = []string{"time", "ts", "timestamp", "start_time", "@timestamp", "startutc", "time_iso8601", "time_local", "msec"}
	bodyNames   = []string{"body", "request_body", "request.body", "request.content", "post_data"}
	agentNames  = []string{"user_agent", "http_user_agent", "request.headers.user-agent", "request_user-agent"}
)

// headerNames are the names logs give a header of a request.
func headerNames(h string) []string {
	return []string{h, "http_" + h, "request.headers." + h, "headers." + h, "request_headers." + h, "request_" + h, "req." + h, "sent_http_" + h}
}

// jsonLine reads a line that is one object.
func jsonLine(line string) ([]Record, bool) {
	v, err := rawjson.Parse([]byte(line), rawjson.Limits{Bytes: maxLine})
	if err != nil || v.Kind() != rawjson.Object {
		return nil, false
	}
	flat := map[string]string{}
	flatten(v, "", 0, flat)
	get := func(names []string) string {
		for _, n := range names {
			if s := flat[fold(n)]; s != "" && s != "-" {
				return s
			}
		}
		return ""
	}
	if flat[fold("id.orig_h")] != "" {
		return []Record{zeekRecord(func(n string) string { return flat[fold(n)] })}, true
	}
	r := Record{
		Time: stamp(get(timeNames)), Method: strings.ToUpper(get(methodNames)), Status: status(get(statusNames)), Person: get(personNames), From: bare(get(fromNames)), Agent: get(agentNames),
		MCP: get(headerNames("mcp-method")), Version: get(headerNames("mcp-protocol-version")), Session: get(headerNames("mcp-session-id")) != "", Streams: streams(get(headerNames("accept"))),
	}
	if full := get(urlNames); strings.Contains(full, "://") {
		if u, err := url.Parse(full); err == nil {
			r.URL = address(u.Scheme, u.Host, "", u.Path)
		}
	} else {
		r.URL = address(get(schemeNames), get(hostNames), get(portNames), first(get(pathNames), full))
	}
	if r.MCP == "" && r.Method == "POST" {
		r.MCP = bodyMethod(get(bodyNames))
	}
	if r.Method == "CONNECT" {
		r.Resolved = true
	}
	return []Record{r}, true
}

// flatten collects texts and numbers by their path.
func flatten(v rawjson.Value, at string, depth int, into map[string]string) {
	for k, m := range v.Members() {
		name, _ := k.Str()
		name = fold(at + name)
		if m.Kind() == rawjson.Object && depth < 3 {
			flatten(m, name+".", depth+1, into)
		} else if s := scalar(m); s != "" && into[name] == "" {
			into[name] = s
		}
	}
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

// bare is an address without its port.
func bare(s string) string {
	if i := strings.LastIndexByte(s, ':'); i > 0 && strings.Count(s, ":") == 1 {
		return s[:i]
	}
	return s
}

// bodyMethod finds the method of a JSON-RPC request in the first 1024 bytes of a
// body. It reads no further, and of what it reads it keeps that word.
func bodyMethod(body string) string {
	body = body[:min(len(body), 1024)]
	if !strings.Contains(body, `"jsonrpc"`) {
		return ""
	}
	_, rest, ok := strings.Cut(body, `"method"`)
	if !ok {
		return ""
	}
	rest = strings.TrimLeft(strings.TrimLeft(rest, " \t\r\n"), ":")
	rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " \t\r\n"), `"`)
	word, _, end := strings.Cut(rest, `"`)
	if !ok || !end || !methodName.MatchString(word) {
		return ""
	}
	return word
}
