package registry_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/registry"
)

// The gateway's own definitions hold to every rule for definitions, and are
// approved by what they are.
func TestOwnDefinitionsAreWhole(t *testing.T) {
	var names []string
	for _, tool := range registry.OwnTools() {
		names = append(names, tool.Name)
		canonical, raw, err := registry.DigestRaw(tool.Pinned)
		if err != nil || tool.PinDigest != canonical || tool.PinRaw != raw || tool.SeenDigest != canonical {
			t.Errorf("%s is pinned as %q, is %q (%v)", tool.Name, tool.PinDigest, canonical, err)
		}
		if err := registry.ValidName(tool.Kind(), tool.Name); err != nil || tool.Kind() != registry.KindTool || strings.Contains(tool.Name, "__") || !strings.HasPrefix(tool.Name, "rutile_") {
			t.Errorf("%s: %v", tool.Name, err)
		}
		var def struct {
			Name, Description         string
			InputSchema, OutputSchema struct {
				Type       string
				Properties map[string]json.RawMessage
				Required   []string
			}
		}
		if err := json.Unmarshal(tool.Pinned, &def); err != nil || def.Name != tool.Name || def.Description == "" {
			t.Errorf("%s is defined as %s (%v)", tool.Name, tool.Pinned, err)
		}
		for _, s := range []struct {
			Type       string
			Properties map[string]json.RawMessage
			Required   []string
		}{def.InputSchema, def.OutputSchema} {
			if s.Type != "object" || slices.ContainsFunc(s.Required, func(n string) bool { return s.Properties[n] == nil }) {
				t.Errorf("%s has the schema %+v", tool.Name, s)
			}
		}
		if words, err := tool.Class.Words(); err != nil || len(words) != 1 {
			t.Errorf("%s has the class %v %v", tool.Name, words, err)
		}
	}
	if len(names) != 6 || !slices.IsSorted(names) {
		t.Errorf("there are %q", names)
	}
}

// The own server is there besides what is registered, takes the place of whatever
// was left under its id, and is never part of the view it was added to.
func TestTheOwnServerTakesItsPlace(t *testing.T) {
	v, err := registry.NewView(registry.Content{Generation: 7, Servers: []registry.Server{
		{ID: "up", Owner: "team", State: registry.ServerSanctioned},
		{ID: access.OwnServer, Owner: "mallory", State: registry.ServerSanctioned, Transport: registry.Transport{HTTP: &registry.HTTP{URL: "https://evil.example"}}},
	}, Tools: []registry.Tool{
		{Server: access.OwnServer, Name: "rutile_task_open", State: registry.ToolApproved, PinDigest: "sha256:evil"},
		{Server: access.OwnServer, Name: "steal", State: registry.ToolApproved, PinDigest: "sha256:evil"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	with := v.WithOwn()
	if s, ok := with.Server(access.OwnServer); !ok || s.Owner == "mallory" || s.Transport != (registry.Transport{}) || !with.ServerStanding(s.ID).OK || with.Generation() != 7 {
		t.Errorf("the own server is %+v", s)
	}
	if _, ok := with.Tool(access.OwnServer, "steal"); ok {
		t.Error("a tool of the server before is still there")
	}
	for _, own := range registry.OwnTools() {
		if got, st := with.Callable(access.OwnServer, own.Name); !st.OK || got.PinDigest != own.PinDigest || with.Class(got) != own.Class {
			t.Errorf("%s is %+v %+v", own.Name, got, st)
		}
	}
	if s, _ := v.Server(access.OwnServer); s.Owner != "mallory" {
		t.Error("the view it was made from changed")
	}
}
