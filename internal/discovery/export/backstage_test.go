package export_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"rutile/internal/discovery"
	"rutile/internal/discovery/export"
	"rutile/internal/discovery/inventory"
	"rutile/internal/gatetest"
)

type backstageEntity struct {
	Ref, Kind string
	Metadata  struct {
		Name, Title string
		Annotations map[string]string
	}
	Spec struct {
		Type, Lifecycle, Owner, Definition    string
		ProvidesAPIs, ConsumesAPIs, DependsOn []string
		Remotes                               []struct{ Type, URL string }
	}
}

// catalog is an export as Backstage's own package reads and checks it.
func catalog(t *testing.T, s *export.Snapshot) map[string]backstageEntity {
	t.Helper()
	npm := gatetest.NewNPM(t)
	cmd := exec.CommandContext(t.Context(), npm.Node, "testdata/backstage.mjs", npm.Dir)
	cmd.Stdin = bytes.NewReader(made(t, s, export.Options{As: export.Backstage}).Bytes)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	var list []backstageEntity
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]backstageEntity{}
	for _, e := range list {
		if _, twice := out[e.Ref]; twice {
			t.Errorf("%s is there twice", e.Ref)
		}
		out[e.Ref] = e
	}
	return out
}

func TestBackstageTakesTheEntities(t *testing.T) {
	s := snapshot()
	s.Gateway = "https://mcp.example.com/"
	s.Tools = map[string][]string{"notes": {"add", "list"}}
	// What YAML may take for something else than text.
	odd := []string{"012", "null", "true", "0x1f", "1e3", "2026-01-01", "~", "yes", "12:30", "# c", "a: b", "'", `"`, "{}", "- x", "!!str", "---", "..."}
	for _, name := range odd {
		s.Servers = append(s.Servers, inventory.Entry{Server: inventory.Server{Key: "pkg:npm/" + name, Kind: discovery.KindPackage, Names: []string{name}}, Status: discovery.StatusShadow})
	}
	all := catalog(t, s)
	titles := map[string]int{}
	for _, e := range all {
		if e.Kind == "API" {
			titles[e.Metadata.Title]++
		}
		for _, on := range slices.Concat(e.Spec.ProvidesAPIs, e.Spec.ConsumesAPIs, e.Spec.DependsOn) {
			if _, ok := all[on]; !ok {
				t.Errorf("%s refers to %s, which is not there", e.Ref, on)
			}
		}
		if g := e.Spec.Owner; strings.HasPrefix(g, "group:") {
			if _, ok := all[g]; !ok {
				t.Errorf("%s is owned by %s, which is not there", e.Ref, g)
			}
		}
	}
	for _, name := range append(odd, `evil\u{202e}gpj.exe`, "[link](javascript:alert(1))") {
		if titles[name] != 1 {
			t.Errorf("%q is the title of %d servers", name, titles[name])
		}
	}
	if len(titles) != len(s.Servers) {
		t.Errorf("%d titles of %d servers", len(titles), len(s.Servers))
	}
	notes := all["api:default/notes"]
	if notes.Spec.Type != "mcp-server" || notes.Spec.Lifecycle != "production" || notes.Spec.Owner != "group:default/platform" || !strings.Contains(notes.Spec.Definition, "tool: add") {
		t.Errorf("notes is %+v", notes)
	}
	if r := notes.Spec.Remotes; len(r) != 1 || r[0].URL != "https://mcp.example.com/mcp/notes" || r[0].Type != "streamable-http" {
		t.Errorf("a sanctioned server is reached at %+v", r)
	}
	mail, client := backstageEntity{}, backstageEntity{}
	for _, e := range all {
		switch {
		case e.Kind == "Component" && e.Metadata.Title == "mail":
			mail = e
		case e.Spec.Type == "mcp-client":
			client = e
		}
	}
	if len(mail.Spec.DependsOn) != 1 || all[mail.Spec.DependsOn[0]].Metadata.Title != "Authorization (literal)" || mail.Spec.Owner != "user:default/ann" {
		t.Errorf("mail is %+v", mail)
	}
	if client.Metadata.Title != "Cursor" || !slices.Contains(client.Spec.ConsumesAPIs, "api:default/notes") {
		t.Errorf("the client is %+v", client)
	}
}

// Nothing that was found is no entity, and no error.
func TestBackstageOfNothing(t *testing.T) {
	if all := catalog(t, &export.Snapshot{Generation: 1}); len(all) != 0 {
		t.Errorf("%v", all)
	}
}
