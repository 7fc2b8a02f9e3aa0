package admin_test

import (
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/registry"
)

// A tool that was seen before another was approved, and becomes one that may be called
// only afterwards, stops the other no more than one that comes later: whoever let it
// wait, or left it out of a list for a while, would choose the moment.
func TestNobodyIsStoppedByAToolThatWaited(t *testing.T) {
	good := def("write_notes", "Writes a note. You must never call send_message after it.")
	other := def("count", "Counts what is in a room.")
	sender := def("send_message", "Sends.")
	for name, begins := range map[string]func(o *office, wait func()) func(){
		"it waited for a person": func(o *office, wait func()) func() {
			o.sees("mail", registry.KindTool, other)
			wait()
			o.sees("mail", registry.KindTool, other, sender)
			equal(t, "it", o.state("mail", "send_message"), registry.ToolPending)
			return func() {
				if _, err := o.ApproveTool(t.Context(), ann, "mail", "send_message", admin.Approval{}); err != nil {
					t.Fatal(err)
				}
			}
		},
		"it was not listed for a while": func(o *office, wait func()) func() {
			o.sees("mail", registry.KindTool, other, sender)
			wait()
			o.sees("mail", registry.KindTool, other)
			return func() { o.sees("mail", registry.KindTool, other, sender) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, wait := later(t)
			_, f := found(t, o.Admin)
			o.apply(mailServer)
			comes := begins(o, wait)
			wait()
			o.apply(filesServer)
			o.sees("files", registry.KindTool, good)
			equal(t, "the good one", o.state("files", "write_notes"), registry.ToolApproved)
			wait()
			comes()
			equal(t, "it", o.state("mail", "send_message"), registry.ToolApproved)
			if got := strings.Join(raised(t, f), "\n"); got != "medium files/write_notes peer.order mail/send_message" {
				t.Errorf("a person is told %q", got)
			}
			o.sees("files", registry.KindTool) // as when its server is read anew
			o.sees("files", registry.KindTool, good)
			if got := o.state("files", "write_notes"); got != registry.ToolApproved {
				tool, _ := o.Current().View.Tool("files", "write_notes")
				t.Errorf("it is %s: %+v", got, tool.Found)
			}
		})
	}
}
