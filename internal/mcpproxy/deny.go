package mcpproxy

import (
	"net/http"
	"strconv"
	"strings"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// deny answers a decision that is not permit in the form of mcp.md 2.6: a tool
// error the model can read for tool calls, a protocol error elsewhere, and for
// what is hidden the same bytes as for what does not exist.
func (c *call) deny(d *access.Decision) {
	if d.Class == access.ClassHidden {
		c.ans.fail(c.unknownTarget())
		return
	}
	url := ""
	if d.Outcome == access.RequireApproval && d.Request != "" && c.in.p.cfg.ApprovalURL != nil {
		url = c.in.p.cfg.ApprovalURL(d.Request)
	}
	c.denyAt(d, url)
}

// denyAt is deny with the address where somebody can change that, "" for none.
func (c *call) denyAt(d *access.Decision, url string) {
	text := denialText(d)
	if url != "" && d.Class != access.ClassConnect {
		text += " People approve it at " + url + " ."
	}
	if !c.toolCall() {
		c.ans.fail(&rpcError{status: http.StatusOK, code: denialCode(d.Outcome), msg: text, data: denialData(d, url)})
		return
	}
	result := []byte(`{`)
	if c.modern {
		result = append(result, `"resultType":"complete",`...)
	}
	result = rawjson.AppendString(append(result, `"content":[{"type":"text","text":`...), text)
	result = append(result, `}],"isError":true,"_meta":{"`+metaDenial+`":`...)
	result = append(append(result, denialData(d, url)...), "}}"...)
	_ = c.ans.final(http.StatusOK, appendResult(nil, c.ans.id, result))
}

// toolCall reports whether the client reads a result of a tool: about a task it
// asks for something else, although that is decided as the tool's call.
func (c *call) toolCall() bool { return c.in.msg.name == "tools/call" }

func (c *call) unknownTarget() *rpcError {
	if c.in.msg.method.task {
		return errTaskUnknown
	}
	switch c.req.Kind {
	case access.KindTool:
		return invalidParams("Unknown tool")
	case access.KindPrompt:
		return invalidParams("Unknown prompt")
	case access.KindResource:
		return invalidParams("Resource not found")
	default:
		return invalidParams("Unknown server")
	}
}

func denialCode(o access.Outcome) int {
	switch o {
	case access.RequireApproval:
		return codeApproval
	case access.RateLimit:
		return codeRateLimit
	case access.Quarantine:
		return codeQuarantine
	case access.Revoke, access.Terminate:
		return codeRevoked
	default:
		return codeDenied
	}
}

// denialText is the sentence for the agent: what happened, why, what would
// help, and the id to quote.
func denialText(d *access.Decision) string {
	text := "Denied by the gateway."
	if d.Reason != "" {
		text = "Denied by the gateway: " + strings.TrimSuffix(d.Reason, ".") + "."
	}
	if help := strings.TrimSuffix(d.Help, "."); help != "" {
		text += " " + strings.ToUpper(help[:1]) + help[1:] + "."
	}
	return text + " Decision " + d.ID + "."
}

// denialData is the machine-readable form: ids and classes, never thresholds or
// policy text.
func denialData(d *access.Decision, url string) []byte {
	b := rawjson.AppendString([]byte(`{"decision":`), d.ID)
	b = rawjson.AppendString(append(b, `,"outcome":`...), d.Outcome.String())
	b = rawjson.AppendString(append(b, `,"class":`...), string(d.Class))
	b = rawjson.AppendString(append(b, `,"reason":`...), d.Reason)
	if d.Help != "" {
		b = rawjson.AppendString(append(b, `,"help":`...), d.Help)
	}
	if d.Request != "" {
		b = rawjson.AppendString(append(b, `,"request":`...), d.Request)
	}
	if url != "" {
		b = rawjson.AppendString(append(b, `,"url":`...), url)
	}
	if d.RetryAfter > 0 {
		b = strconv.AppendInt(append(b, `,"retry_after_ms":`...), d.RetryAfter.Milliseconds(), 10)
	}
	b = append(b, `,"policies":[`...)
	for i, id := range append(append([]string(nil), d.Forbids...), d.Errors...) {
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(b, id)
	}
	return append(b, "]}"...)
}
