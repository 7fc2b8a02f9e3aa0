package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// upstream is the smallest MCP server of the 2026-07-28 revision that a gateway
// can govern: discovery, tools whose replies of a quarter of a kilobyte or of a
// mebibyte repeat the nonce of the call, one that does not end, and at a path of its
// own a long list.
type upstream struct{}

func toolNamed(name string) string {
	return `{"name":"` + name + `","description":"Repeat the nonce.","inputSchema":{"type":"object","properties":{"nonce":{"type":"string"},"text":{"type":"string"}},"required":["nonce"]},"annotations":{"readOnlyHint":true}}`
}

// What the servers list.
var (
	echoTools = `"tools":[` + toolNamed("echo") + `,` + toolNamed("big") + `,` + toolNamed("hold") + `]` + kept
	longList  = `"tools":[` + strings.Join(manyNames(), ",") + `]` + kept
)

const kept = `,"ttlMs":3600000,"cacheScope":"public"`

func manyNames() []string {
	var out []string
	for i := range manyTools {
		name := fmt.Sprintf("%s%04d", grantedTag, i)
		if i >= grantedOf {
			name = fmt.Sprintf("%s%04d", otherTag, i)
		}
		out = append(out, toolNamed(name))
	}
	return out
}

func (upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
			Name      string `json:"name"`
			Arguments struct {
				Nonce string `json:"nonce"`
			} `json:"arguments"`
		} `json:"params"`
	}
	if err != nil || json.Unmarshal(body, &m) != nil || len(m.ID) == 0 {
		http.Error(w, "not a request", http.StatusBadRequest)
		return
	}
	var result string
	switch m.Method {
	case "tools/call":
		if m.Params.Name == "hold" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"begun\"}}\n\n")
			_ = http.NewResponseController(w).Flush() // the reader may be gone
			<-r.Context().Done()
			return
		}
		text := filler
		if m.Params.Name == "big" {
			text = bigFiller
		}
		result = `"content":[{"type":"text","text":"` + m.Params.Arguments.Nonce + " " + text + `"}]`
	case "tools/list":
		if result = echoTools; r.URL.Path == "/"+manyServer {
			result = longList
		}
	case "server/discover":
		result = `"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}` + kept
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, m.ID)
		return
	}
	reply := `{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":{"resultType":"complete",` + result + `}}`
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, reply) // the reader may be gone
}

// filler makes a reply 256 bytes long, more or less a nonce; bigFiller is as long as a
// large one. Both are prose: a text without words is read once more, without their bounds.
var (
	filler    = "The quick brown fox jumps over the lazy dog, and then it goes home. The dog sleeps until noon and looks for its old bone."
	bigFiller = strings.Repeat("The quick brown fox jumps over the lazy dog. ", bigResult/45+1)
)

// serve serves on a free loopback port, says on which, and ends with its input.
func serve(h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // whoever started us holds the other end
		os.Exit(0)
	}()
	return (&http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}).Serve(l)
}
