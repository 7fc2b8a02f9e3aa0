package rawjson_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"rutile/internal/rawjson"
)

// toolCall is a typical modern tools/call of about 1 KB.
var toolCall = `{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{"name":"create_issue","arguments":{` +
	`"owner":"example","repo":"control-plane","title":"Crash when the configuration file is empty",` +
	`"body":"` + strings.Repeat("Starting with an empty file ends with a stack trace instead of a message. ", 7) + `",` +
	`"labels":["bug","good first issue","area/config"],"assignees":["ada","grace"],"milestone":7,"draft":false},` +
	`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-06-18","io.modelcontextprotocol/clientInfo":` +
	`{"name":"bench","version":"1.0.0"},"io.modelcontextprotocol/clientCapabilities":{"sampling":{},"roots":{"listChanged":true}},"progressToken":42}}}`

// list is a tools/list result of about the given size.
func list(size int) []byte {
	var b strings.Builder
	b.WriteString(`{"jsonrpc":"2.0","id":1,"result":{"tools":[`)
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"tool_%d","description":"Reads the record with the given number and returns it as text.",`+
			`"inputSchema":{"type":"object","properties":{"id":{"type":"integer","minimum":1},"format":{"type":"string","enum":["text","json"]}},"required":["id"]}}`, i)
	}
	b.WriteString(`]}}`)
	return []byte(b.String())
}

func benchmarks() map[string][]byte {
	return map[string][]byte{
		"call-1k":  []byte(toolCall),
		"list-8k":  list(8 << 10),
		"list-64k": list(64 << 10),
		"text-64k": []byte(`{"text":"` + strings.Repeat("plain words in a row, ", 64<<10/22) + `"}`),
		"cjk-64k":  []byte(`{"text":"` + strings.Repeat("日本語の文章。", 64<<10/21) + `"}`),
		"nums-64k": []byte(`[` + strings.Repeat("1234.5,", 64<<10/7) + `0]`),
	}
}

func BenchmarkParse(b *testing.B) {
	for name, src := range benchmarks() {
		b.Run(name, func(b *testing.B) {
			var d rawjson.Doc
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Parse(src, rawjson.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStandardValid is the floor of encoding/json: it only checks.
func BenchmarkStandardValid(b *testing.B) {
	for name, src := range benchmarks() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				if !json.Valid(src) {
					b.Fatal("invalid")
				}
			}
		})
	}
}

// BenchmarkEnvelope is what the proxy does with a call: parse, look for folded
// keys, read the members it needs.
func BenchmarkEnvelope(b *testing.B) {
	src := []byte(toolCall)
	var d rawjson.Doc
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Parse(src, rawjson.Limits{}); err != nil {
			b.Fatal(err)
		}
		root := d.Root()
		params := root.Get("params")
		if root.FoldDuplicate(false) != "" || params.FoldDuplicate(true) != "" {
			b.Fatal("folded")
		}
		if _, _, ok := root.FoldsTo("jsonrpc", "id", "method", "params", "result", "error"); ok {
			b.Fatal("folded")
		}
		members := 0
		for k := range root.Members() {
			if k.Equals("jsonrpc") || k.Equals("params") {
				members++
			}
		}
		if _, ok := root.Get("id").Int64(); !ok || members != 2 || !params.Get("name").Equals("create_issue") {
			b.Fatal("misread")
		}
	}
}

func BenchmarkAppendCanonical(b *testing.B) {
	for name, src := range map[string][]byte{"call-1k": []byte(toolCall), "list-64k": list(64 << 10)} {
		b.Run(name, func(b *testing.B) {
			root, err := rawjson.Parse(src, rawjson.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, 0, 2*len(src))
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				dst = rawjson.AppendCanonical(dst[:0], root)
			}
		})
	}
}
