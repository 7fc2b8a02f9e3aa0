package gatetest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

const tasksExtension = "io.modelcontextprotocol/tasks"

// TaskServer is a 2026-07-28 server with the tasks extension (SEP-2663) and the
// tools the conformance suite asks for. It is a fixture: it checks what the
// suite checks, keeps tasks in memory and knows no principals, so that whoever
// has an id has the task. The zero value is ready to serve.
type TaskServer struct {
	mu    sync.Mutex
	tasks map[string]*serverTask
	seen  []TaskRequest
	moved chan struct{} // closed when a task changed; nil if nobody waits
}

// TaskRequest is one request that reached a TaskServer.
type TaskRequest struct {
	Method string
	Name   string // the Mcp-Name header
	Params json.RawMessage
}

// serverTask is one task; what of it is set depends on its status.
type serverTask struct {
	id       string
	status   string
	created  time.Time
	updated  time.Time
	result   any
	fault    any
	requests map[string]any
	answers  map[string]json.RawMessage
	cancel   chan struct{}
	answered chan struct{}
}

// Seen returns what reached the server, in order.
func (s *TaskServer) Seen() []TaskRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// Forget loses every task, as a restart would.
func (s *TaskServer) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks = nil
}

type taskCall struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string          `json:"name"`
		TaskID    string          `json:"taskId"`
		Arguments json.RawMessage `json:"arguments"`
		Meta      struct {
			Version      string `json:"io.modelcontextprotocol/protocolVersion"`
			Capabilities struct {
				Extensions map[string]json.RawMessage `json:"extensions"`
			} `json:"io.modelcontextprotocol/clientCapabilities"`
		} `json:"_meta"`
		Responses     map[string]json.RawMessage `json:"inputResponses"`
		Notifications struct {
			TaskIDs []string `json:"taskIds"`
		} `json:"notifications"`
	} `json:"params"`
}

func (c *taskCall) declares() bool {
	return c.Params.Meta.Capabilities.Extensions[tasksExtension] != nil
}

// rpcFault is a JSON-RPC error with its HTTP status.
type rpcFault struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
	status  int
}

func (f *rpcFault) Error() string { return f.Message }

var (
	errTaskUndeclared = &rpcFault{-32021, "the tasks extension is not declared", map[string]any{"requiredCapabilities": map[string]any{"extensions": map[string]any{tasksExtension: map[string]any{}}}}, http.StatusBadRequest}
	errTaskUnknown    = &rpcFault{-32602, "no such task", nil, http.StatusOK}
	errTaskMethod     = &rpcFault{-32601, "method not found", nil, http.StatusNotFound}
	errTaskHeader     = &rpcFault{-32020, "a header differs from the body", nil, http.StatusBadRequest}
)

func (s *TaskServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var c taskCall
	if r.Method != http.MethodPost || json.Unmarshal(body, &c) != nil {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var raw struct{ Params json.RawMessage }
	_ = json.Unmarshal(body, &raw) // it was read above
	s.mu.Lock()
	s.seen = append(s.seen, TaskRequest{c.Method, r.Header.Get("Mcp-Name"), raw.Params})
	s.mu.Unlock()
	if c.Method == "subscriptions/listen" && c.declares() {
		s.listen(w, r, &c)
		return
	}
	result, err := s.answer(r, &c)
	status, out := http.StatusOK, map[string]any{"jsonrpc": "2.0", "id": c.ID}
	var fault *rpcFault
	if errors.As(err, &fault) {
		status, out["error"] = fault.status, fault
	} else {
		out["result"] = result
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out) // the client may have gone
}

func (s *TaskServer) answer(r *http.Request, c *taskCall) (any, error) {
	if c.Params.Meta.Version != "2026-07-28" {
		return nil, &rpcFault{-32602, "_meta is missing", nil, http.StatusBadRequest}
	}
	if r.Header.Get("Mcp-Method") != c.Method {
		return nil, errTaskHeader
	}
	switch c.Method {
	case "server/discover":
		return map[string]any{
			"resultType": "complete", "supportedVersions": []string{"2026-07-28"}, "ttlMs": 0, "cacheScope": "private",
			"capabilities": map[string]any{"tools": map[string]any{}, "extensions": map[string]any{tasksExtension: map[string]any{}}},
		}, nil
	case "tools/list":
		tools := []any{}
		for _, name := range []string{"greet", "slow_compute", "failing_job", "protocol_error_job", "confirm_delete", "multi_input", "test_tool_with_task"} {
			tools = append(tools, map[string]any{"name": name, "inputSchema": map[string]any{"type": "object"}})
		}
		return map[string]any{"resultType": "complete", "tools": tools, "ttlMs": 0, "cacheScope": "private"}, nil
	case "tools/call":
		if r.Header.Get("Mcp-Name") != c.Params.Name {
			return nil, errTaskHeader
		}
		return s.call(c)
	case "tasks/get", "tasks/update", "tasks/cancel":
		if !c.declares() {
			return nil, errTaskUndeclared
		}
		if r.Header.Get("Mcp-Name") != c.Params.TaskID {
			return nil, errTaskHeader
		}
		return s.about(c)
	case "subscriptions/listen":
		return nil, errTaskUndeclared
	}
	return nil, errTaskMethod
}

func text(s string) map[string]any {
	return map[string]any{"content": []any{map[string]any{"type": "text", "text": s}}}
}

func complete(result map[string]any) map[string]any {
	result["resultType"] = "complete"
	return result
}

// call runs a tool. slow_compute answers at once where no task may be made.
func (s *TaskServer) call(c *taskCall) (any, error) {
	var args struct {
		Name    string  `json:"name"`
		Seconds float64 `json:"seconds"`
	}
	_ = json.Unmarshal(c.Params.Arguments, &args) // no argument is needed
	var work func(*serverTask)
	switch c.Params.Name {
	case "greet":
		return complete(text("Hello, " + args.Name + "!")), nil
	case "slow_compute":
		if !c.declares() {
			return complete(text("computed")), nil
		}
		work = func(t *serverTask) {
			select {
			case <-t.cancel:
				s.settle(t, "cancelled", nil, nil)
			case <-time.After(time.Duration(args.Seconds * float64(time.Second))):
				s.settle(t, "completed", text("computed"), nil)
			}
		}
	case "failing_job":
		work = func(t *serverTask) {
			failed := text("it went wrong")
			failed["isError"] = true
			s.settle(t, "completed", failed, nil)
		}
	case "protocol_error_job":
		work = func(t *serverTask) {
			s.settle(t, "failed", nil, map[string]any{"code": -32603, "message": "it broke"})
		}
	case "confirm_delete":
		work = func(t *serverTask) { s.ask(t, "confirm") }
	case "multi_input":
		work = func(t *serverTask) { s.ask(t, "first", "second") }
	case "test_tool_with_task":
		if c.Params.Responses["user_name"] == nil {
			return map[string]any{"resultType": "input_required", "inputRequests": map[string]any{"user_name": elicitation("name")}, "requestState": "round-1"}, nil
		}
		var answer struct{ Content struct{ Name string } }
		_ = json.Unmarshal(c.Params.Responses["user_name"], &answer) // an odd answer has no name
		work = func(t *serverTask) { s.settle(t, "completed", text("Hello, "+answer.Content.Name), nil) }
	default:
		return nil, &rpcFault{-32602, "Unknown tool", nil, http.StatusOK}
	}
	if !c.declares() {
		return nil, errTaskUndeclared
	}
	return s.start(work), nil
}

func elicitation(field string) map[string]any {
	return map[string]any{"method": "elicitation/create", "params": map[string]any{
		"mode": "form", "message": "Please answer.",
		"requestedSchema": map[string]any{"type": "object", "properties": map[string]any{field: map[string]any{"type": "string"}}},
	}}
}

func (s *TaskServer) start(work func(*serverTask)) map[string]any {
	t := &serverTask{id: rand.Text(), status: "working", created: time.Now(), updated: time.Now(), cancel: make(chan struct{}), answered: make(chan struct{}, 1)}
	s.mu.Lock()
	if s.tasks == nil {
		s.tasks = map[string]*serverTask{}
	}
	s.tasks[t.id] = t
	seed := t.base()
	s.mu.Unlock()
	seed["resultType"] = "task"
	go work(t)
	return seed
}

// base are the members every task has; s.mu is held.
func (t *serverTask) base() map[string]any {
	return map[string]any{
		"taskId": t.id, "status": t.status, "ttlMs": 3_600_000, "pollIntervalMs": 50,
		"createdAt": t.created.UTC().Format(time.RFC3339Nano), "lastUpdatedAt": t.updated.UTC().Format(time.RFC3339Nano),
	}
}

// detailed is the task as tasks/get shows it; s.mu is held.
func (t *serverTask) detailed() map[string]any {
	m := t.base()
	switch t.status {
	case "completed":
		m["result"] = t.result
	case "failed":
		m["error"] = t.fault
	case "input_required":
		m["inputRequests"] = maps.Clone(t.requests)
	}
	return m
}

// settle ends a task.
func (s *TaskServer) settle(t *serverTask, status string, result, fault any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.status, t.result, t.fault, t.updated = status, result, fault, time.Now()
	s.changed()
}

func (s *TaskServer) changed() {
	if s.moved != nil {
		close(s.moved)
		s.moved = nil
	}
}

// ask parks a task until every key is answered or it is cancelled.
func (s *TaskServer) ask(t *serverTask, keys ...string) {
	s.mu.Lock()
	t.status, t.requests, t.answers = "input_required", map[string]any{}, map[string]json.RawMessage{}
	for _, k := range keys {
		t.requests[k] = elicitation(k)
	}
	s.changed()
	s.mu.Unlock()
	select {
	case <-t.cancel:
		s.settle(t, "cancelled", nil, nil)
	case <-t.answered:
		s.mu.Lock()
		raw, _ := json.Marshal(t.answers) // raw messages always can
		s.mu.Unlock()
		s.settle(t, "completed", text("answered: "+string(raw)), nil)
	}
}

// about serves the methods that name a task.
func (s *TaskServer) about(c *taskCall) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[c.Params.TaskID]
	if t == nil {
		return nil, errTaskUnknown
	}
	switch c.Method {
	case "tasks/get":
		return complete(t.detailed()), nil
	case "tasks/cancel":
		select {
		case <-t.cancel:
		default:
			close(t.cancel)
		}
	case "tasks/update":
		for k, v := range c.Params.Responses {
			if t.requests[k] != nil {
				t.answers[k] = v
				delete(t.requests, k)
			}
		}
		if len(t.requests) == 0 && t.status == "input_required" {
			select {
			case t.answered <- struct{}{}:
			default:
			}
		}
		s.changed()
	}
	return map[string]any{"resultType": "complete"}, nil
}

// listen pushes the state of tasks whenever it changes.
func (s *TaskServer) listen(w http.ResponseWriter, r *http.Request, c *taskCall) {
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(method string, params map[string]any) {
		params["_meta"] = map[string]any{"io.modelcontextprotocol/subscriptionId": c.ID}
		raw, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": method, "params": params}) // made above
		fmt.Fprintf(w, "data: %s\n\n", raw)
		_ = http.NewResponseController(w).Flush() // a client that went away ends r's context
	}
	known := []string{}
	s.mu.Lock()
	for _, id := range c.Params.Notifications.TaskIDs {
		if s.tasks[id] != nil {
			known = append(known, id)
		}
	}
	s.mu.Unlock()
	send("notifications/subscriptions/acknowledged", map[string]any{"notifications": map[string]any{"taskIds": known}})
	told := map[string]string{}
	for {
		s.mu.Lock()
		var news []map[string]any
		for _, id := range known {
			if t := s.tasks[id]; t != nil && told[id] != t.status {
				told[id] = t.status
				news = append(news, t.detailed())
			}
		}
		if s.moved == nil {
			s.moved = make(chan struct{})
		}
		moved := s.moved
		s.mu.Unlock()
		for _, n := range news {
			send("notifications/tasks", n)
		}
		select {
		case <-r.Context().Done():
			return
		case <-moved:
		}
	}
}
