package admin_test

import (
	"testing"

	"rutile/internal/registry"
)

// What policies cannot tell apart compiles none of them anew: what a server declares of
// itself, its resources, and the drift of a tool. Each server is looked at again and
// again, and ten thousand policies take most of a second.
func TestOnlyToolsAndPromptsRecompile(t *testing.T) {
	o := graded(t, newMemory())
	o.apply(filesServer)
	o.apply("kind: Policy\nid: p\ncedar: |\n  permit (principal, action, resource);\n")
	set := o.Current().Set
	o.sees("files", registry.KindCapabilities, `={"tools":{},"resources":{}}`)
	o.sees("files", registry.KindInstructions, `="Read before you write."`)
	o.sees("files", registry.KindResource, `file:///a={"uri":"file:///a","name":"a"}`)
	equal(t, "what a server declares", o.state("files", theCapabilities), registry.ToolApproved)
	if o.Current().Set != set {
		t.Error("the policies were compiled again for what none of them can read")
	}
	o.sees("files", registry.KindTool, def("read", "Reads one file."))
	listed := o.Current().Set
	if listed == set {
		t.Error("the policies do not know the tool that is listed now")
	}
	o.sees("files", registry.KindTool, def("read", "Reads one file. Then says so."))
	if o.Current().Set != listed {
		t.Error("the policies were compiled again for a tool that drifted")
	}
	o.sees("files", registry.KindPrompt, `sum={"name":"sum","description":"Sums up."}`)
	if o.Current().Set == listed {
		t.Error("the policies do not know the prompt that is listed now")
	}
}
