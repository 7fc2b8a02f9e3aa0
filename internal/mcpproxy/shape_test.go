package mcpproxy

// This test is inside the package: what is kept in memory shows nowhere else.

import (
	"fmt"
	"testing"

	"rutile/internal/registry"
)

// A server that changes a definition again and again leaves one of them in
// memory, and the newest counts.
func TestOneShapeForEachTool(t *testing.T) {
	p := &Proxy{}
	for i := range 1000 {
		for _, name := range []string{"a", "b"} {
			def := fmt.Sprintf(`{"name":%q,"inputSchema":{"type":"object","properties":{"p%d":{"type":"string"}}}}`, name, i)
			tool := registry.Tool{Server: "up", Name: name, State: registry.ToolChanged, Seen: []byte(def), SeenDigest: fmt.Sprint(i), PinDigest: "pin"}
			sh := p.shapeOf(tool)
			if want := fmt.Sprintf("p%d", i); len(sh.top.names) != 1 || sh.top.names[0] != want || p.shapeOf(tool) != sh {
				t.Fatalf("%s at %d declares %v", name, i, sh.top.names)
			}
		}
	}
	kept := 0
	p.shapes.Range(func(any, any) bool { kept++; return true })
	if kept != 2 {
		t.Errorf("%d shapes are kept for two tools", kept)
	}
}
