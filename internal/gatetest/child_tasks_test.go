package gatetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"

	"rutile/internal/gatetest"
)

// taskPipe is the server with tasks on standard input and output. What it says
// in a stream goes out message by message.
type taskPipe struct {
	server gatetest.TaskServer
	mu     sync.Mutex
	ends   map[string]context.CancelFunc // of the requests being served, by id
}

// line takes a message of the client.
func (p *taskPipe) line(raw []byte) {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
			Name      string          `json:"name"`
			TaskID    string          `json:"taskId"`
			RequestID json.RawMessage `json:"requestId"`
		} `json:"params"`
	}
	if json.Unmarshal(raw, &m) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.Method == "notifications/cancelled" {
		if end := p.ends[string(m.Params.RequestID)]; end != nil {
			end()
		}
		return
	}
	ctx, end := context.WithCancel(context.Background())
	p.ends[string(m.ID)] = end
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(bytes.Clone(raw)))
	r.Header.Set("Mcp-Method", m.Method)
	r.Header.Set("Mcp-Name", m.Params.Name+m.Params.TaskID) // it has one of them
	go func() {
		defer end()
		p.server.ServeHTTP(&lineWriter{header: http.Header{}}, r)
	}()
}

// lineWriter writes an answer, or what is said in a stream, as lines.
type lineWriter struct{ header http.Header }

func (w *lineWriter) Header() http.Header { return w.header }
func (w *lineWriter) WriteHeader(int)     {}
func (w *lineWriter) Flush()              {}

func (w *lineWriter) Write(b []byte) (int, error) {
	line := bytes.TrimSpace(bytes.TrimPrefix(b, []byte("data: ")))
	_, err := io.WriteString(os.Stdout, string(line)+"\n")
	return len(b), err
}
