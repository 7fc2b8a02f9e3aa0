package mcpproxy

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// The tasks extension (SEP-2663): a server may answer a call with a task, which
// the client then asks about. The id a client gets is the gateway's: it says,
// sealed, whose task it is and what call it came from, so that asking about it
// is decided as that call is, needs no memory and survives a restart.

const extTasks = metaPrefix + "tasks"

// taskRef is what a task id of the gateway says.
type taskRef struct {
	Principal access.Principal `json:"p"`
	Server    string           `json:"s"`
	Tool      string           `json:"t"`
	ID        []byte           `json:"i"`           // the server's own id, as it wrote it
	Arguments []byte           `json:"a,omitempty"` // of the call, compressed
	Large     bool             `json:"l,omitempty"` // the arguments are too large to travel
	Use       string           `json:"u,omitempty"` // the use of a grant the call was made under
}

// name is the server's id as a text.
func (t *taskRef) name() string {
	v, err := rawjson.Parse(t.ID, rawjson.Limits{})
	if err != nil {
		return ""
	}
	s, _ := v.Str()
	return s
}

// taskPurpose is what task ids are sealed for.
const taskPurpose = "mcp task id"

// Bounds of task ids. One travels in a header, which has 8 KiB.
const (
	maxTaskID        = 1024    // bytes of a server's
	maxTaskArguments = 4 << 10 // bytes of arguments inside of ours, compressed
	maxOurTaskID     = maxHeaderBytes
)

var (
	// One refusal for ids that are nobody's, another's and of another server.
	errTaskUnknown    = invalidParams("no such task")
	errTaskUndeclared = &rpcError{status: http.StatusBadRequest, code: codeCapability, msg: "the client did not declare the tasks extension",
		data: []byte(`{"requiredCapabilities":{"extensions":{"` + extTasks + `":{}}}}`)}
)

// declares reports whether capabilities name an extension.
func declares(caps rawjson.Value, extension string) bool {
	return caps.Path("extensions", extension).Kind() == rawjson.Object
}

// carries reports whether the gateway carries an extension.
func (p *Proxy) carries(extension string) bool {
	if extension == extTasks {
		return true
	}
	for _, e := range p.cfg.Extensions {
		if e == extension {
			return true
		}
	}
	return false
}

// carriedExtensions is the raw map of extensions without those the gateway does
// not carry, nil if none is left; changed says whether any was dropped.
func (p *Proxy) carriedExtensions(v rawjson.Value) (raw []byte, changed bool) {
	return extensionsOf(v, p.carries)
}

// carriedExtensions is those this request may carry. The aggregate carries tasks
// only: it could not map what others put into results.
func (c *call) carriedExtensions(v rawjson.Value) (raw []byte, changed bool) {
	if c.in.all {
		return extensionsOf(v, func(extension string) bool { return extension == extTasks })
	}
	return c.in.p.carriedExtensions(v)
}

func extensionsOf(v rawjson.Value, carries func(extension string) bool) (raw []byte, changed bool) {
	out := []byte{'{'}
	for k, settings := range v.Members() {
		name, _ := k.Str()
		if !carries(name) {
			changed = true
			continue
		}
		out = appendMember(out, name, settings.Raw())
	}
	if len(out) == 1 {
		return nil, v.Exists()
	}
	if !changed {
		return v.Raw(), false
	}
	return append(out, '}'), true
}

// known returns what is known of a server without asking it, nil if nothing is.
func (p *Proxy) known(server string) *peer {
	p.mu.Lock()
	t := p.targets[server]
	p.mu.Unlock()
	if t == nil {
		return nil
	}
	return t.current()
}

// asksAboutTask checks the parameters of a method that names a task.
func (c *call) asksAboutTask() *rpcError {
	m := &c.in.msg
	if pr := c.in.p.known(c.req.Server); pr != nil && !pr.extends(extTasks) { // whether it may is decided with the call
		return methodNotFound(true)
	}
	if !declares(m.meta.Get(metaCapabilities), extTasks) {
		return errTaskUndeclared
	}
	id, ok := m.params.Get("taskId").Str()
	if !ok || id == "" || len(id) > maxOurTaskID || hasControl(id) {
		return invalidParams("/params/taskId must be the id of a task")
	}
	if r := m.params.Get("inputResponses"); m.name == "tasks/update" && r.Kind() != rawjson.Object {
		return invalidParams("/params/inputResponses must be an object")
	}
	return nil
}

// openTask reads the task a request names and makes it a request about the call
// the task came from.
func (c *call) openTask(ctx context.Context) *rpcError {
	text, _ := c.in.msg.params.Get("taskId").Str()
	if c.task = c.taskOf(ctx, text); c.task == nil || !c.task.about(c.req, c.in.p.cfg.MaxBody) {
		return errTaskUnknown
	}
	return nil
}

// taskOf opens a task id of this principal and server, nil if it is not one.
func (c *call) taskOf(ctx context.Context, text string) *taskRef {
	ref := c.in.taskOf(ctx, text)
	if ref == nil || ref.Server != c.req.Server {
		return nil
	}
	return ref
}

// taskOf opens a task id of this principal at any server, nil if it is not one.
func (in *inbound) taskOf(ctx context.Context, text string) *taskRef {
	if len(text) > maxOurTaskID {
		return nil
	}
	box, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil
	}
	plain, err := in.p.seal.Open(ctx, taskPurpose, box)
	if err != nil {
		return nil
	}
	ref := new(taskRef)
	if json.Unmarshal(plain, ref) != nil || ref.Principal != in.who.Principal() {
		return nil
	}
	return ref
}

// about makes r a request about the call the task came from; false means that
// its arguments cannot be read.
func (t *taskRef) about(r *access.Request, max int) bool {
	r.Kind, r.Target, r.Unknown, r.Arguments = access.KindTool, t.Tool, t.Large, rawjson.Value{}
	r.Follows, r.Use = true, t.Use
	if t.Large || t.Arguments == nil {
		return true
	}
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(t.Arguments)), int64(max)))
	if err != nil {
		return false
	}
	r.Arguments, err = rawjson.Parse(raw, rawjson.Limits{Bytes: max})
	return err == nil
}

// sealTask returns the raw JSON string that is our id for a server's task of
// this call.
func (c *call) sealTask(ctx context.Context, id rawjson.Value) ([]byte, error) {
	ref := taskRef{Principal: c.req.Who.Principal(), Server: c.req.Server, Tool: c.req.Target, ID: id.Raw(), Use: c.req.Use}
	if args := c.req.Arguments; args.Exists() {
		packed, err := packed(args.Raw())
		if err != nil {
			return nil, err
		}
		if ref.Arguments = packed; len(packed) > maxTaskArguments {
			ref.Arguments, ref.Large = nil, true
		}
	}
	plain, err := json.Marshal(ref)
	if err != nil {
		return nil, access.Errorf(access.CodeInternal, "encoding a task id: %w", err)
	}
	box, err := c.in.p.seal.Seal(ctx, taskPurpose, plain)
	if err != nil {
		return nil, access.Errorf(access.CodeInternal, "sealing a task id: %w", err)
	}
	return rawjson.AppendString(nil, base64.RawURLEncoding.EncodeToString(box)), nil
}

func packed(raw []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err == nil {
		_, err = w.Write(raw)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return nil, access.Errorf(access.CodeInternal, "packing the arguments of a task: %w", err)
	}
	return b.Bytes(), nil
}

// taskStates are the statuses a task has.
var taskStates = []string{"working", "input_required", "completed", "failed", "cancelled"}

func knownTaskState(v rawjson.Value) bool {
	for _, s := range taskStates {
		if v.Equals(s) {
			return true
		}
	}
	return false
}

// newTask is the edit of a result that says that the call became a task.
func (c *call) newTask(ctx context.Context, r rawjson.Value) ([]rawjson.Edit, error) {
	if c.in.msg.name != "tools/call" || !declares(c.in.msg.meta.Get(metaCapabilities), extTasks) {
		return nil, malformed("it made a task although the request allows none")
	}
	id, ok := r.Get("taskId").Str()
	if !ok || id == "" || len(id) > maxTaskID || hasControl(id) || !knownTaskState(r.Get("status")) {
		return nil, malformed("it made a task without an id or a status")
	}
	for _, k := range []string{"result", "error", "inputRequests", "requestState"} {
		if r.Get(k).Exists() {
			return nil, malformed("it made a task that says more than a new task may")
		}
	}
	ours, err := c.sealTask(ctx, r.Get("taskId"))
	if err != nil {
		return nil, err
	}
	c.started = true
	return rawjson.EditObject(r, rawjson.Change{Key: "taskId", Raw: ours}), nil
}

// shownTask are the changes to the state of a task before a client sees it: our
// id for the server's, and of what it asks only what may be asked.
func (c *call) shownTask(ctx context.Context, r rawjson.Value, ref *taskRef, ours []byte) ([]rawjson.Change, error) {
	if !r.Get("taskId").Equals(ref.name()) || !knownTaskState(r.Get("status")) {
		return nil, malformed("it answered about another task, or without a status")
	}
	changes := []rawjson.Change{{Key: "taskId", Raw: ours}}
	asks := r.Get("inputRequests")
	if !asks.Exists() {
		return changes, nil
	}
	if asks.Kind() != rawjson.Object || !r.Get("status").Equals("input_required") {
		return nil, malformed("a task asks for input without saying which")
	}
	raised, err := c.entries(ctx, asks)
	var gave gaveUp
	if errors.As(err, &gave) {
		// Nothing says no to this kind: the task cannot go on.
		c.tellTask(ctx, "tasks/cancel", ref, nil)
		fault := (&rpcError{code: codeDenied, msg: gave.why}).object()
		return append(changes, rawjson.Change{Key: "status", Raw: []byte(`"failed"`)}, rawjson.Change{Key: "inputRequests"}, rawjson.Change{Key: "error", Raw: fault}), nil
	}
	if err != nil {
		return nil, err
	}
	shown, answers := []byte{'{'}, []byte{'{'}
	for _, a := range raised {
		if a.own != nil {
			answers = appendMember(answers, a.key, a.own)
			continue
		}
		shown = appendMember(shown, a.key, asks.Get(a.key).Raw())
	}
	if len(answers) == 1 {
		return changes, nil
	}
	c.tellTask(ctx, "tasks/update", ref, append(answers, '}'))
	if len(shown) > 1 {
		return append(changes, rawjson.Change{Key: "inputRequests", Raw: append(shown, '}')}), nil
	}
	return append(changes, rawjson.Change{Key: "inputRequests"}, rawjson.Change{Key: "status", Raw: []byte(`"working"`)}), nil
}

// taskMeta is the _meta of what the gateway tells a server about a task.
const taskMeta = `{"` + metaVersion + `":"` + version2026 + `","` + metaCapabilities + `":{"extensions":{"` + extTasks + `":{}}},"` + metaClientInfo + `":{"name":"rutile","version":"1"}}`

// tellTask answers a task in the client's stead or cancels it. If that is lost
// the next look at the task does it again.
func (c *call) tellTask(ctx context.Context, method string, ref *taskRef, responses []byte) {
	id := c.in.p.mint()
	body := append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"method":"`+method+`","params":{"taskId":`...)
	body = append(body, ref.ID...)
	if responses != nil {
		body = append(append(body, `,"inputResponses":`...), responses...)
	}
	body = append(append(append(body, `,"_meta":`...), taskMeta...), "}}"...)
	x := &exchange{method: methods[method], name: ref.name(), body: body, id: id, d: c.d, relay: noRelay{}, limits: rawjson.Limits{Bytes: c.in.p.cfg.MaxResult}}
	if _, _, err := c.link.call(ctx, x); err != nil {
		c.in.p.log.Warn("a task could not be told", "server", c.req.Server, "decision", c.req.ID, "method", method, "error", err)
	}
}

// taskResult is the edit of a result in the tasks extension; nil for others.
func (c *call) taskResult(ctx context.Context, r rawjson.Value) ([]rawjson.Edit, error) {
	switch {
	case r.Get("resultType").Equals("task"):
		return c.newTask(ctx, r)
	case c.task != nil && c.in.msg.name == "tasks/get":
		changes, err := c.shownTask(ctx, r, c.task, c.in.msg.params.Get("taskId").Raw())
		if err != nil {
			return nil, err
		}
		return rawjson.EditObject(r, changes...), nil
	}
	return nil, nil
}
