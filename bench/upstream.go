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
// can govern: discovery, one tool, and replies of a quarter of a kilobyte that
// repeat the nonce of the call.
type upstream struct{}

const tool = `{"name":"echo","description":"Repeat the nonce.","inputSchema":{"type":"object","properties":{"nonce":{"type":"string"},"text":{"type":"string"}},"required":["nonce"]},"annotations":{"readOnlyHint":true}}`

func (upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
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
		result = `"content":[{"type":"text","text":"` + m.Params.Arguments.Nonce + " " + filler + `"}]`
	case "tools/list":
		result = `"tools":[` + tool + `],"ttlMs":3600000,"cacheScope":"public"`
	case "server/discover":
		result = `"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":3600000,"cacheScope":"public"`
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

// filler makes a reply 256 bytes long, more or less a nonce.
var filler = strings.Repeat("x", 120)

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
