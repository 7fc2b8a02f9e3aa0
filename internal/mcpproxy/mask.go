package mcpproxy

import (
	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// masked is what is sent of the arguments where policy has parts of them masked,
// nil if they go as they came.
func (c *call) masked() []byte {
	if c.d == nil {
		return nil
	}
	return c.d.Arguments
}

// sending is what is sent of the arguments.
func (c *call) sending() []byte {
	if m := c.masked(); m != nil {
		return m
	}
	return c.in.msg.args.Raw()
}

// paramsOf returns the parameters of the request in body, for what of them is said
// again beside it. Where arguments are masked those are not the client's.
func (c *call) paramsOf(body []byte) (rawjson.Value, error) {
	if c.masked() == nil {
		return c.in.msg.params, nil
	}
	v, err := rawjson.Parse(body, rawjson.Limits{Bytes: 2 * c.in.p.cfg.MaxBody})
	if err != nil {
		return v, access.Errorf(access.CodeInternal, "parsing a masked request: %w", err)
	}
	args := v.Path("params", "arguments")
	if c.shape != nil {
		if err := c.shape.judge(args, &c.shape.top); err != nil {
			return v, err
		}
	}
	return v.Get("params"), nil
}

// masker masks in the result of an answer to a call of a tool; nil where an answer
// has no parts that could be named.
func (c *call) masker() func(body []byte, paths [][]string, text string) ([]byte, bool) {
	if c.req.Kind != access.KindTool {
		return nil
	}
	return func(body []byte, paths [][]string, text string) ([]byte, bool) {
		root, err := rawjson.Parse(body, rawjson.Limits{Bytes: 2 * c.in.p.cfg.MaxResult})
		if err != nil {
			return nil, false
		}
		result := root.Get("result")
		var out []byte
		var ok bool
		if c.task != nil || c.started {
			out, ok = maskTask(result, paths, text)
		} else {
			out, ok = maskResult(result, paths, text)
		}
		if !ok {
			return nil, false
		}
		start, end := result.Span()
		return rawjson.Splice(body, rawjson.Edit{Start: start, End: end, Text: out}), true
	}
}

// maskResult returns a tool's result with text at the paths, in the structured
// content and in every text that is JSON. Each path must lead somewhere in what is
// structured. What else the result shows, which cannot be taken apart, is masked
// whole, and what no revision has in a result is left out: either may say the same
// in other words.
func maskResult(result rawjson.Value, paths [][]string, text string) (masked []byte, ok bool) {
	if result.Kind() != rawjson.Object {
		return nil, false
	}
	mask := rawjson.AppendString(nil, text)
	items := []byte{'['}
	for item := range result.Get("content").Items() {
		if len(items) > 1 {
			items = append(items, ',')
		}
		shown, found := maskItem(item, paths, mask)
		items, ok = append(items, shown...), ok || found
	}
	out := []byte{'{'}
	for _, key := range []string{"resultType", "isError"} {
		if v := result.Get(key); v.Kind() == rawjson.String || v.Kind() == rawjson.True || v.Kind() == rawjson.False {
			out = appendMember(out, key, v.Raw())
		}
	}
	out = appendMember(out, "content", append(items, ']'))
	if structured := result.Get("structuredContent"); structured.Exists() {
		edits, missed := rawjson.Replace(structured, paths, mask)
		ok = missed < 0
		out = appendMember(out, "structuredContent", spliceValue(structured, edits))
	}
	return append(out, '}'), ok
}

// spliceValue is a value with edits made in it.
func spliceValue(v rawjson.Value, edits []rawjson.Edit) []byte {
	start, _ := v.Span()
	for i := range edits {
		edits[i].Start, edits[i].End = edits[i].Start-start, edits[i].End-start
	}
	return rawjson.Splice(v.Raw(), edits...)
}

// maskTask returns what is shown of a task: how it stands, and its result with text
// at the paths. One that failed or asks says so in words, which cannot be masked.
func maskTask(task rawjson.Value, paths [][]string, text string) (masked []byte, ok bool) {
	if task.Kind() != rawjson.Object || task.Get("error").Exists() || task.Get("inputRequests").Exists() {
		return nil, false
	}
	out := []byte{'{'}
	for _, key := range []string{"resultType", "taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs"} {
		if v := task.Get(key); v.Exists() && v.Kind() != rawjson.Object && v.Kind() != rawjson.Array {
			out = appendMember(out, key, v.Raw())
		}
	}
	if result := task.Get("result"); result.Exists() {
		shown, ok := maskResult(result, paths, text)
		if !ok {
			return nil, false
		}
		out = appendMember(out, "result", shown)
	}
	return append(out, '}'), true
}

// maskItem returns one item of the content masked, and whether each path led
// somewhere in it.
func maskItem(item rawjson.Value, paths [][]string, mask []byte) ([]byte, bool) {
	as := func(text []byte) []byte { return append(append([]byte(`{"type":"text","text":`), text...), '}') }
	shown, ok := item.Get("text").Str()
	if !ok || !item.Get("type").Equals("text") {
		return as(mask), false
	}
	v, err := rawjson.Parse([]byte(shown), rawjson.Limits{})
	if err != nil || v.Kind() != rawjson.Object && v.Kind() != rawjson.Array {
		return as(mask), false
	}
	edits, missed := rawjson.Replace(v, paths, mask)
	if missed >= 0 {
		return as(mask), false
	}
	return as(rawjson.AppendString(nil, string(rawjson.Splice([]byte(shown), edits...)))), true
}
