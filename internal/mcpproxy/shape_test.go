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

// What was kept about tools and servers that cannot be called any more goes.
func TestWhatIsGoneIsForgotten(t *testing.T) {
	over := make(chan struct{})
	close(over)
	p := &Proxy{learning: map[string]*learning{}}
	servers := []registry.Server{{ID: "up", Owner: "team", State: registry.ServerSanctioned}, {ID: "was", Owner: "team", State: registry.ServerRetired}}
	var tools []registry.Tool
	for _, s := range servers {
		p.learning[s.ID] = &learning{done: over}
		for _, state := range []registry.ToolState{registry.ToolApproved, registry.ToolAbsent, registry.ToolRetired} {
			tool := registry.Tool{Server: s.ID, Name: string(state), State: state, Pinned: []byte(`{"inputSchema":{}}`), PinDigest: "d", SeenDigest: "d"}
			tools = append(tools, tool)
			p.shapeOf(tool)
		}
	}
	p.learning["runs"] = &learning{done: make(chan struct{})}
	view, err := registry.NewView(registry.Content{Servers: servers, Tools: tools})
	if err != nil {
		t.Fatal(err)
	}
	p.unlearn(view)
	kept := map[shapeKey]bool{}
	p.shapes.Range(func(k, _ any) bool { kept[k.(shapeKey)] = true; return true })
	if len(kept) != 1 || !kept[shapeKey{"up", "approved"}] {
		t.Errorf("the shapes kept are %v", kept)
	}
	if len(p.learning) != 2 || p.learning["up"] == nil || p.learning["runs"] == nil {
		t.Errorf("the looks kept are %v", p.learning)
	}
}
