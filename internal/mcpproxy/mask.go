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
		if c.task != nil {
			result = result.Get("result")
		}
		edits, ok := maskResult(result, paths, text)
		if !ok {
			return nil, false
		}
		return rawjson.Splice(body, edits...), true
	}
}

// maskResult returns the edits that put text at the paths, in the structured
// content of a tool's result and in every text of it that is JSON. Each path must
// lead somewhere in what is structured. What else the result shows, which cannot be
// taken apart, is masked whole: it may say the same in other words.
func maskResult(result rawjson.Value, paths [][]string, text string) (edits []rawjson.Edit, ok bool) {
	if result.Kind() != rawjson.Object {
		return nil, false
	}
	mask := rawjson.AppendString(nil, text)
	content := result.Get("content")
	for item := range content.Items() {
		e, found := maskItem(item, paths, mask)
		edits, ok = append(edits, e), ok || found
	}
	if structured := result.Get("structuredContent"); structured.Exists() {
		parts, missed := rawjson.Replace(structured, paths, mask)
		if ok = missed < 0; ok {
			before, _ := structured.Span()
			if at, _ := content.Span(); content.Exists() && at < before {
				edits = append(edits, parts...)
			} else {
				edits = append(parts, edits...)
			}
		}
	}
	return edits, ok
}

// maskItem returns the edit that masks one item of the content, and whether each
// path led somewhere in it.
func maskItem(item rawjson.Value, paths [][]string, mask []byte) (rawjson.Edit, bool) {
	start, end := item.Span()
	whole := rawjson.Edit{Start: start, End: end, Text: append(append([]byte(`{"type":"text","text":`), mask...), '}')}
	shown, ok := item.Get("text").Str()
	if !ok || !item.Get("type").Equals("text") {
		return whole, false
	}
	v, err := rawjson.Parse([]byte(shown), rawjson.Limits{})
	if err != nil || v.Kind() != rawjson.Object && v.Kind() != rawjson.Array {
		return whole, false
	}
	parts, missed := rawjson.Replace(v, paths, mask)
	if missed >= 0 {
		return whole, false
	}
	start, end = item.Get("text").Span()
	return rawjson.Edit{Start: start, End: end, Text: rawjson.AppendString(nil, string(rawjson.Splice([]byte(shown), parts...)))}, true
}
