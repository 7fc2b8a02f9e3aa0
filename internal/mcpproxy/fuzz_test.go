package mcpproxy

// These tests are inside the package: what reads a stranger's bytes is fuzzed
// where it reads them.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// traffic is what a client and a server of the Go SDK said to each other, an
// elicitation, progress, logging and a discovery among it.
func traffic(f *testing.F, name string) []byte {
	f.Helper()
	raw, err := os.ReadFile("testdata/traffic/" + name)
	if err != nil {
		f.Fatal(err)
	}
	return raw
}

// FuzzMessage: a message that is accepted is one to every reader.
func FuzzMessage(f *testing.F) {
	for line := range bytes.Lines(traffic(f, "client.jsonl")) {
		f.Add(line)
	}
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":1,"A":2},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`,
		`{"jsonrpc":"2.0","\u0069d":1,"id":2,"method":"ping"}`, `{"jsonrpc":"2.0","Id":1,"method":"ping"}`, `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, `{"jsonrpc":"2.0","id":1e0,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}`, "\ufeff{}", `{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m message
		if m.parse(raw, rawjson.Limits{Bytes: 1 << 16}) != nil {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		var other struct {
			JSONRPC string
			ID      json.RawMessage
			Method  string
			Params  json.RawMessage
		}
		if err := dec.Decode(&other); err != nil || !errors.Is(dec.Decode(&other), io.EOF) {
			t.Fatalf("%q is accepted, encoding/json says %v", raw, err)
		}
		if other.JSONRPC != "2.0" || other.Method != m.name || !bytes.Equal(other.ID, m.idBytes()) || !bytes.Equal(other.Params, m.params.Raw()) {
			t.Fatalf("%q is %q with the id %q here, and %+v to encoding/json", raw, m.name, m.idBytes(), other)
		}
		if m.kind == isRequest != (m.name != "" && m.id.Exists()) {
			t.Fatalf("%q is of kind %d", raw, m.kind)
		}
	})
}

// FuzzEvents: how a stream arrives in pieces does not change what it says, no
// event is over the bound, and a message that is written is read again.
func FuzzEvents(f *testing.F) {
	f.Add(traffic(f, "server.sse"))
	for _, seed := range []string{"data: a\rdata: b\r\n\r\n", "\ufeffid: 1\nretry: 5\ndata\n\n", "data: {}\n", ": x\n\nevent: endpoint\ndata: /m?x=1\n\n", "id: a\x00b\ndata:x\n\n", "data: " + strings.Repeat("x", 600) + "\n\n"} {
		f.Add([]byte(seed))
	}
	type event struct {
		name, id, retry, data string
		hasID                 bool
	}
	const max = 512
	read := func(r io.Reader) (all []event, err error) {
		s := newSSEReader(r, max)
		for {
			ev, err := s.next()
			if err != nil {
				return all, err
			}
			all = append(all, event{ev.name, ev.id, ev.retry, string(ev.data), ev.hasID})
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		whole, err := read(bytes.NewReader(raw))
		pieces, perr := read(iotest.OneByteReader(bytes.NewReader(raw)))
		if !errors.Is(err, io.EOF) && !errors.Is(err, errEventTooLarge) {
			t.Fatalf("it ended with %v", err)
		}
		// A line that is a little too long is seen as such only where it comes whole.
		if errors.Is(err, io.EOF) && errors.Is(perr, io.EOF) && !slices.Equal(whole, pieces) {
			t.Fatalf("%q says %+v at once and %+v in pieces", raw, whole, pieces)
		}
		for _, ev := range whole {
			if len(ev.data) > max || len(ev.retry) > maxRetryDigits {
				t.Fatalf("an event of %d bytes", len(ev.data))
			}
		}
		if v, err := rawjson.Parse(raw, rawjson.Limits{Bytes: 256}); err == nil {
			again, err := read(bytes.NewReader(appendSSE(nil, raw)))
			if !errors.Is(err, io.EOF) || len(again) != 1 || again[0].name != "message" {
				t.Fatalf("%q was read as %+v, %v", raw, again, err)
			}
			got, err := rawjson.Parse([]byte(again[0].data), rawjson.Limits{})
			if err != nil || !bytes.Equal(rawjson.AppendCanonical(nil, got), rawjson.AppendCanonical(nil, v)) {
				t.Fatalf("%q came back as %q", raw, again[0].data)
			}
		}
	})
}

// FuzzStdioLines: what a process writes is cut at its newlines and nowhere else,
// and no line held is over the cap.
func FuzzStdioLines(f *testing.F) {
	f.Add(traffic(f, "client.jsonl"))
	f.Add([]byte("a\r\n\n\nb"))
	f.Add(bytes.Repeat([]byte("x"), 3000))
	f.Add(append(bytes.Repeat([]byte("x"), 100), "\n{}\n"...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		const max = 64
		lines := stdioLines{r: bufio.NewReaderSize(iotest.HalfReader(bytes.NewReader(raw)), 16), max: max}
		want := bytes.Split(raw, []byte("\n"))
		for i := 0; ; i++ {
			line, size, err := lines.next()
			if errors.Is(err, errStdioEndless) {
				if len(want[i]) <= stdioEndless*max {
					t.Fatalf("a line of %d bytes never ends", len(want[i]))
				}
				return
			}
			if size != len(want[i]) || !bytes.Equal(line, want[i][:min(size, max)]) {
				t.Fatalf("line %d is %q of %d, want %q", i, line, size, want[i])
			}
			if err != nil {
				if i != len(want)-1 || !errors.Is(err, io.EOF) {
					t.Fatalf("it ended with %v after %d of %d lines", err, i+1, len(want))
				}
				return
			}
		}
	})
}

// FuzzUpstreamMessage: whatever a server answers, what is taken for the answer
// is one, to this request.
func FuzzUpstreamMessage(f *testing.F) {
	for line := range bytes.Lines(traffic(f, "server.sse")) {
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			f.Add(data)
		}
	}
	for _, seed := range []string{`{"jsonrpc":"2.0","id":7,"result":{},"error":{}}`, `{"jsonrpc":"2.0","id":7.0,"result":{}}`, `{"jsonrpc":"2.0","id":"7","result":{}}`, `{"jsonrpc":"2.0","error":{"code":1,"message":"x"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r reply
		matched, err := r.read(raw, []byte("7"), rawjson.Limits{Bytes: 1 << 16})
		if err != nil || !matched {
			return
		}
		var other struct {
			ID            *float64
			Result, Error json.RawMessage
		}
		if err := json.Unmarshal(raw, &other); err != nil {
			t.Fatalf("%q is taken for an answer, encoding/json says %v", raw, err)
		}
		if (other.Result == nil) == (other.Error == nil) || other.ID == nil && other.Error == nil || other.ID != nil && *other.ID != 7 {
			t.Fatalf("%q is taken for the answer to 7", raw)
		}
	})
}

// openSeal seals nothing, so that the fuzzer reaches what is behind the seal.
type openSeal struct{}

func (openSeal) Seal(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }
func (openSeal) Open(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }

// FuzzTaskID: an id opens for the principal and the server it was made for, and
// what is inside never outgrows a request.
func FuzzTaskID(f *testing.F) {
	who := access.Principal{Agent: "bot"}
	p, err := packed([]byte(`{"text":"x"}`))
	if err != nil {
		f.Fatal(err)
	}
	ours := ""
	for _, ref := range []taskRef{{Principal: who, Server: "up", Tool: "echo", ID: json.RawMessage(`"t"`), Arguments: p}, {Principal: who, Server: "other"}, {Principal: access.Principal{Agent: "eve"}, Server: "up"}} {
		plain, err := json.Marshal(ref)
		if err != nil {
			f.Fatal(err)
		}
		id := base64.RawURLEncoding.EncodeToString(plain)
		if ours == "" {
			ours = id
		}
		f.Add(id)
	}
	f.Add("")
	f.Add("e30=")
	f.Fuzz(func(t *testing.T, id string) {
		bot := access.Identity{Actor: access.Actor{Agent: "bot"}}
		c := &call{in: &inbound{p: &Proxy{seal: openSeal{}}, who: bot}, req: &access.Request{Server: "up", Who: bot}}
		ref := c.taskOf(context.Background(), id)
		if ref == nil {
			if id == ours {
				t.Fatal("the id of its own principal and server does not open")
			}
			return
		}
		if ref.Principal != who || ref.Server != "up" {
			t.Fatalf("%q opened as %+v", id, ref)
		}
		_ = ref.name()
		const max = 1 << 10
		if ref.about(c.req, max) && len(c.req.Arguments.Raw()) > max {
			t.Fatalf("%q holds %d bytes of arguments", id, len(c.req.Arguments.Raw()))
		}
	})
}

// FuzzCursor: a cursor that is read is the one that was written.
func FuzzCursor(f *testing.F) {
	f.Add(cursor{"tools", "up", "echo"}.String(), "tools")
	f.Add(cursor{"resources", "up", "file:///\x00"}.String(), "tools")
	f.Add("!", "tools")
	f.Fuzz(func(t *testing.T, s, list string) {
		v, err := rawjson.Parse(rawjson.AppendString(nil, s), rawjson.Limits{})
		if err != nil {
			return
		}
		text, _ := v.Str()
		got, fault := readCursor(v, list)
		if fault != nil || text == "" {
			return
		}
		if got.list != list || got.String() != text {
			t.Fatalf("%q was read as %+v, which is %q", text, got, got.String())
		}
	})
}
