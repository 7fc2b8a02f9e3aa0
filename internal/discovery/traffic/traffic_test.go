package traffic_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"rutile/internal/discovery/traffic"
)

const day = "2026-11-27T10:00:00Z"

func TestTrafficIsFoundInEveryFormat(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log, format string
		want        string // URL strength requests methods people
	}{
		"Caddy": {`{"ts":1764237600.1,"request":{"remote_ip":"10.0.0.7","method":"POST","host":"Mcp.Example.com","uri":"/mcp?key=s3cret","headers":{"Mcp-Method":["tools/call"],"Mcp-Protocol-Version":["2026-07-28"]}},"user_id":"kim","status":200}`, "json",
			"https://mcp.example.com/mcp 0.9 1 [tools/call] [kim]"},
		"Envoy": {`{":authority":"tools.example.com","path":"/api/mcp","method":"POST","start_time":"` + day + `","response_code":200,"mcp-session-id":"abc","downstream_remote_address":"10.0.0.7:4711"}`, "json",
			"https://tools.example.com/api/mcp 0.9 1 [] []"},
		"nginx with a body": {`{"time_iso8601":"` + day + `","host":"x.example.com","request_method":"POST","request_uri":"/rpc","request_body":"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\": \"tools/list\"}","remote_user":"-"}`, "json",
			"https://x.example.com/rpc 0.9 1 [tools/list] []"},
		"clients accept streams": {`{"host":"x.example.com","method":"POST","path":"/rpc","http_accept":"application/json, text/event-stream"}`, "json", "https://x.example.com/rpc 0.6 1 [] []"},
		"by path":                {`{"host":"x.example.com:8080","method":"GET","path":"/sse"}`, "json", "http://x.example.com:8080/sse 0.4 1 [] []"},
		"W3C": {"#Version: 1.0\n#Fields: date time c-ip cs-username cs-method cs-host cs-uri-stem cs-uri-query sc-status cs(Mcp-Method)\n2026-11-27 10:00:00 10.0.0.7 EX\\kim POST mcp.example.com /mcp token=s3cret 200 tools/list\n2026-11-27 10:00:01 10.0.0.8 - POST mcp.example.com /mcp - 200 initialize\n", "w3c",
			`https://mcp.example.com/mcp 0.9 2 [initialize tools/list] [EX\kim]`},
		"Squid": {"1764237600.123    120 10.0.0.7 TCP_MISS/200 1234 GET http://tools.example.com:3000/mcp?token=s3cret kim HIER_DIRECT/10.1.1.1 text/html\n1764237601.000 99 10.0.0.7 TCP_TUNNEL/200 39 CONNECT mcp.linear.app:443 kim HIER_DIRECT/1.1.1.1 -", "squid",
			"http://tools.example.com:3000/mcp 0.4 1 [] [kim];https://mcp.linear.app 0.3 1 [] [kim]"},
		"Zeek http": {"#separator \\x09\n#path\thttp\n#fields\tts\tid.orig_h\tid.resp_h\tid.resp_p\tmethod\thost\turi\tstatus_code\tuser_agent\n#types\ttime\n1764237600.1\t10.0.0.7\t10.1.1.1\t8000\tPOST\ttools.internal\t/mcp\t200\tnode\n", "zeek",
			"http://tools.internal:8000/mcp 0.4 1 [] []"},
		"Zeek ssl in JSON": {`{"ts":1764237600.1,"id.orig_h":"10.0.0.7","id.resp_h":"1.2.3.4","id.resp_p":443,"server_name":"mcp.notion.com"}`, "json", "https://mcp.notion.com 0.3 1 [] []"},
		"Zeek dns":         {"#fields\tts\tid.orig_h\tquery\n1764237600.1\t10.0.0.7\tmcp.sentry.dev\n1764237600.1\t10.0.0.7\twww.example.com\n", "zeek", "https://mcp.sentry.dev 0.3 1 [] []"},
		"OpenTelemetry": {`{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"1764237600000000000","attributes":[{"key":"mcp.method.name","value":{"stringValue":"tools/call"}},{"key":"url.full","value":{"stringValue":"https://u:p@api.example.com/x?token=s3cret"}},{"key":"http.response.status_code","value":{"intValue":"200"}}]}]}]}]}`, "otel",
			"https://api.example.com/x 0.9 1 [tools/call] []"},
		"not of MCP":      {`{"host":"www.example.com","method":"GET","path":"/"}`, "json", ""},
		"documentation":   {`{"host":"docs.example.com","method":"GET","path":"/mcp"}` + "\n" + `{"host":"x.example.com","method":"GET","path":"/mcp","status":404}`, "json", ""},
		"through Rutile":  {`{"host":"mcp.example.com","method":"POST","path":"/mcp","mcp-method":"tools/call","client_ip":"10.9.9.9"}`, "json", ""},
		"no method of it": {`{"host":"x.example.com","method":"POST","path":"/rpc","body":"{\"jsonrpc\":\"2.0\",\"method\":\"eth_call\"}"}`, "json", ""},
	} {
		s, err := traffic.Read(t.Context(), strings.NewReader(c.log), "", []string{"10.9.9.9"})
		if err != nil || s.Format != c.format || s.Unread != 0 {
			t.Errorf("%s: %+v, %v, want %s", name, s, err, c.format)
		}
		var got []string
		for _, d := range s.Destinations {
			got = append(got, fmt.Sprint(d.URL, " ", d.Strength, " ", d.Requests, " ", d.Methods, " ", d.People))
		}
		if strings.Join(got, ";") != c.want {
			t.Errorf("%s: %s, want %s", name, strings.Join(got, ";"), c.want)
		}
		if strings.Contains(fmt.Sprintf("%+v", s), "s3cret") || strings.Contains(fmt.Sprintf("%+v", s), "u:p@") {
			t.Errorf("%s: a value of a query came out: %+v", name, s)
		}
	}
}

func TestBadLinesHideNoOthers(t *testing.T) {
	t.Parallel()
	good := `{"host":"mcp.example.com","method":"POST","path":"/mcp","mcp-method":"ping"}`
	log := strings.Join([]string{good, "{", "[]", `{"a":` + strings.Repeat("[", 100), strings.Repeat("x", 2<<20), `{"host":"%zz","path":"/mcp"}`, good, `{"host":"mcp.example.com","path":"\u0000\u202e"}`, ""}, "\n")
	s, err := traffic.Read(t.Context(), strings.NewReader(log), "json", nil)
	if err != nil || s.Unread != 4 || s.Lines != 8 {
		t.Errorf("%d of %d lines unread: %v", s.Unread, s.Lines, err)
	}
	if len(s.Destinations) != 2 || s.Destinations[0].URL != "https://mcp.example.com/%00%E2%80%AE" || s.Destinations[1].Requests != 2 {
		t.Errorf("%+v", s.Destinations)
	}
}

func TestUnknownFormIsAnError(t *testing.T) {
	t.Parallel()
	for _, log := range []string{"", "hello world", "1 2 3"} {
		if s, err := traffic.Read(t.Context(), strings.NewReader(log), "", nil); err == nil || !strings.Contains(err.Error(), "--logs-format") {
			t.Errorf("%q: %+v, %v", log, s, err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	line := `{"host":"mcp.example.com","method":"POST","path":"/mcp"}` + "\n"
	if s, err := traffic.Read(ctx, strings.NewReader(line+line), "json", nil); err == nil || len(s.Destinations) != 1 {
		t.Errorf("interrupted, it returns %+v, %v", s, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"host":"mcp.example.com","path":"/mcp","mcp-method":"tools/call"}`, "json")
	f.Add("#Fields: cs-host cs-uri-stem\nmcp.example.com /mcp", "w3c")
	f.Add("1764237600.123 1 10.0.0.7 TCP_MISS/200 1 GET http://x/mcp - A/b c", "squid")
	f.Add("#fields\tquery\nmcp.x", "zeek")
	f.Add(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"url.full","value":{"stringValue":"http://mcp.x"}}]}]}]}]}`, "otel")
	f.Fuzz(func(t *testing.T, log, format string) {
		s, err := traffic.Read(t.Context(), strings.NewReader(log), format, nil)
		if err != nil {
			return
		}
		for _, d := range s.Destinations {
			if strings.ContainsAny(d.URL, "?#@ ") || d.Strength <= 0 || d.Strength > 1 {
				t.Errorf("%+v", d)
			}
		}
	})
}
