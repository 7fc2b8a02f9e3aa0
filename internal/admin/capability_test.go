package admin_test

import (
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/registry"
)

const theCapabilities = "#capabilities/"

// What a server declares is pinned by its first listing, also where its tools were
// taken long before it was pinned at all; what comes later waits, and an export
// carries the pin.
func TestCapabilitiesArePinned(t *testing.T) {
	o, wait := later(t)
	o.apply(filesServer)
	o.sees("files", registry.KindTool, def("read", "Reads one file."))
	wait()
	wait()
	o.sees("files", registry.KindTool, def("read", "Reads one file."), def("late", "Counts files."))
	equal(t, "a tool that comes later", o.state("files", "late"), registry.ToolPending)
	o.sees("files", registry.KindCapabilities, `={"tools":{},"logging":{}}`)
	equal(t, "what was in use before", o.state("files", theCapabilities), registry.ToolApproved)

	text := o.export()
	if !strings.Contains(text, "kind: capabilities") {
		t.Fatalf("the export has no pin of them: %s", text)
	}
	b := graded(t, newMemory())
	b.apply(text)
	equal(t, "exported again", b.export(), text)
	if p := b.apply(text); p.Changes() {
		t.Errorf("applying it again changes something: %+v", p)
	}
	if c := b.sees("files", registry.KindCapabilities, `={"tools":{},"logging":{}}`); len(c) > 1 || len(c) == 1 && c[0].State != registry.ToolApproved {
		t.Errorf("they are news where they were imported: %+v", c)
	}

	c := b.sees("files", registry.KindCapabilities, `={"tools":{},"logging":{},"experimental":{"remote":{}}}`)
	if len(c) != 1 || c[0].Grade != registry.GradeHigh || b.state("files", theCapabilities) != registry.ToolChanged {
		t.Errorf("a new one is %+v", c)
	}
	equal(t, "its tools", b.state("files", "read"), registry.ToolApproved)
	c = b.sees("files", registry.KindCapabilities, `={"tools":{}}`)
	if len(c) != 1 || c[0].Grade != registry.GradeLow || b.state("files", theCapabilities) != registry.ToolApproved {
		t.Errorf("fewer are %+v", c)
	}
	if _, err := b.ApproveTool(t.Context(), ann, "files", theCapabilities, admin.Approval{}); err != nil {
		t.Errorf("they cannot be approved: %v", err)
	}
}
