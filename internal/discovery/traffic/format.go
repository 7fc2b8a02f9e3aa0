package traffic

import (
	"net/url"
	"strings"

	"rutile/internal/rawjson"
)

// Formats are the forms of logs that are known.
func Formats() []string { return []string{"json", "w3c", "squid", "zeek", "otel"} }

// parser reads one line. ok is false if the line is not of the format; a line
// may hold no record, or several.
type parser func(line string) (records []Record, ok bool)

func parserOf(format string) parser {
	switch format {
	case "json":
		return jsonLine
	case "w3c":
		return (&columns{sep: " ", empty: "-"}).w3c
	case "squid":
		return squid
	case "zeek":
		return (&columns{sep: "\t", empty: "-"}).zeek
	case "otel":
		return spans
	default:
		return nil
	}
}

// guess tells a format by how a log begins, "" if by nothing.
func guess(head string) string {
	for line := range strings.Lines(head) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case strings.HasPrefix(line, "#separator"), strings.HasPrefix(line, "#fields\t"):
			return "zeek"
		case strings.HasPrefix(line, "#Fields:"), strings.HasPrefix(line, "#Software:"), strings.HasPrefix(line, "#Version:"):
			return "w3c"
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "{"):
			if strings.Contains(line, `"resourceSpans"`) {
				return "otel"
			}
			return "json"
		default:
			if _, ok := squid(line); ok {
				return "squid"
			}
			return ""
		}
	}
	return ""
}

// columns reads logs whose lines are columns a line of the log names.
type columns struct {
	sep, empty string
	names      []string
}

func (c *columns) row(line string) map[string]string {
	f := strings.Split(line, c.sep)
	if len(c.names) == 0 || len(f) != len(c.names) {
		return nil
	}
	row := map[string]string{}
	for i, n := range c.names {
		if f[i] != c.empty && f[i] != "(empty)" {
			row[n] = f[i]
		}
	}
	return row
}

// w3c reads the Extended Log File Format.
func (c *columns) w3c(line string) ([]Record, bool) {
	if names, ok := strings.CutPrefix(line, "#Fields:"); ok {
		c.names = strings.Fields(strings.ToLower(names))
		return nil, true
	}
	if strings.HasPrefix(line, "#") {
		return nil, true
	}
	f := c.row(line)
	if f == nil {
		return nil, false
	}
	host := first(f["cs-host"], f["cs(host)"], f["s-computername"], f["s-ip"])
	r := Record{
		Time: stamp(strings.TrimSpace(f["date"] + " " + f["time"])), Method: f["cs-method"], Status: status(f["sc-status"]), Person: f["cs-username"], From: f["c-ip"], Agent: f["cs(user-agent)"],
		URL: address(f["cs-uri-scheme"], host, first(f["cs-uri-port"], f["s-port"]), first(f["cs-uri-stem"], f["cs-uri-path"], f["cs-uri"])),
		MCP: f["cs(mcp-method)"], Version: f["cs(mcp-protocol-version)"], Session: f["cs(mcp-session-id)"] != "", Streams: streams(f["cs(accept)"]),
	}
	return []Record{r}, true
}

// squid reads Squid's own form: time, duration, client, result/status, bytes,
// method, URL, user, hierarchy/peer, type.
func squid(line string) ([]Record, bool) {
	f := strings.Fields(line)
	if len(f) < 10 || stamp(f[0]).IsZero() || !strings.Contains(f[3], "/") {
		return nil, false
	}
	_, code, _ := strings.Cut(f[3], "/")
	r := Record{Time: stamp(f[0]), From: f[2], Status: status(code), Method: f[5]}
	if f[7] != "-" {
		r.Person = f[7]
	}
	if f[5] == "CONNECT" {
		r.URL, r.Resolved = address("https", f[6], "", ""), true
	} else if u, err := url.Parse(f[6]); err == nil {
		r.URL = address(u.Scheme, u.Host, "", u.Path)
	}
	return []Record{r}, true
}

// zeek reads http.log, ssl.log and dns.log with tabulators; those in JSON are
// read as JSON.
func (c *columns) zeek(line string) ([]Record, bool) {
	if names, ok := strings.CutPrefix(line, "#fields\t"); ok {
		c.names = strings.Split(names, "\t")
		return nil, true
	}
	if strings.HasPrefix(line, "#") {
		return nil, true
	}
	f := c.row(line)
	if f == nil {
		return nil, false
	}
	return []Record{zeekRecord(func(n string) string { return f[n] })}, true
}

func zeekRecord(f func(string) string) Record {
	r := Record{Time: stamp(f("ts")), From: f("id.orig_h"), Person: f("username"), Method: f("method"), Status: status(f("status_code")), Agent: f("user_agent")}
	switch {
	case f("query") != "":
		r.URL, r.Resolved = address("https", f("query"), "", ""), true
	case f("server_name") != "":
		r.URL, r.Resolved = address("https", f("server_name"), f("id.resp_p"), ""), true
	default:
		r.URL = address("http", first(f("host"), f("id.resp_h")), f("id.resp_p"), f("uri"))
	}
	return r
}

// spans reads one line of OTLP in JSON: spans of clients and servers.
func spans(line string) ([]Record, bool) {
	v, err := rawjson.Parse([]byte(line), rawjson.Limits{Bytes: maxLine})
	if err != nil || v.Get("resourceSpans").Kind() != rawjson.Array {
		return nil, false
	}
	var out []Record
	for rs := range v.Get("resourceSpans").Items() {
		for ss := range rs.Get("scopeSpans").Items() {
			for s := range ss.Get("spans").Items() {
				out = append(out, span(s))
			}
		}
	}
	return out, true
}

func span(s rawjson.Value) Record {
	a := map[string]string{}
	for at := range s.Get("attributes").Items() {
		k, _ := at.Get("key").Str()
		for _, v := range at.Get("value").Members() {
			a[k] = scalar(v)
			if v.Kind() == rawjson.Object { // an array of values, as headers are
				for item := range v.Get("values").Items() {
					a[k] = scalar(item.Get("stringValue"))
				}
			}
		}
	}
	r := Record{
		Time: stamp(scalar(s.Get("startTimeUnixNano"))), Method: first(a["http.request.method"], a["http.method"]), Status: status(first(a["http.response.status_code"], a["http.status_code"])),
		Person: first(a["enduser.id"], a["user.id"]), From: first(a["client.address"], a["network.peer.address"]), Agent: first(a["user_agent.original"], a["http.user_agent"]),
		MCP:     first(a["mcp.method.name"], a["http.request.header.mcp-method"]),
		Version: first(a["mcp.protocol.version"], a["http.request.header.mcp-protocol-version"]),
		Session: first(a["mcp.session.id"], a["http.request.header.mcp-session-id"]) != "", Streams: streams(a["http.request.header.accept"]),
	}
	if full := first(a["url.full"], a["http.url"]); full != "" {
		if u, err := url.Parse(full); err == nil {
			r.URL = address(u.Scheme, u.Host, "", u.Path)
		}
	} else {
		r.URL = address(first(a["url.scheme"], a["http.scheme"]), first(a["server.address"], a["net.peer.name"], a["http.host"]), first(a["server.port"], a["net.peer.port"]), first(a["url.path"], a["http.target"]))
	}
	return r
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// scalar is a text, a number or the first of a list of texts, "" otherwise.
func scalar(v rawjson.Value) string {
	switch v.Kind() {
	case rawjson.String:
		s, _ := v.Str()
		return s
	case rawjson.Number:
		return string(v.Raw())
	case rawjson.Array:
		for item := range v.Items() {
			return scalar(item)
		}
	}
	return ""
}
