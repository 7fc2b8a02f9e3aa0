package mcpproxy_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/mcpproxy"
	"rutile/internal/registry"
)

var kinds = []registry.Kind{registry.KindTool, registry.KindPrompt}

// A joined name comes apart as it was joined, and two offers never share one.
func FuzzAggregatedNames(f *testing.F) {
	for _, s := range [][2]string{{"a", "b"}, {"a", "b__c"}, {"a", "_b"}, {"a-b", "__"}, {"0", "-"}, {"a", "é"}, {"a", strings.Repeat("x", 126)}, {"A", "b"}, {"a_", "b"}, {"rutile", ":x"},
		{"rutile", "rutile_task_open"}, {"rutile", "rutile__x"}, {"rutile", "files__read"}, {"rutile", "x"}, {"rutile", "rutile_é"}, {"files", "rutile_x"}, {"rutile_x", "y"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, server, name string) {
		if access.ValidID(server) && name != "" {
			for _, kind := range kinds {
				s, ok := mcpproxy.Joined(server, kind, name)
				gotServer, gotName, back := mcpproxy.Parted(s, kind)
				if ok != back || ok && (gotServer != server || gotName != name) {
					t.Errorf("%s %q of %q became %q (%v) and came back as %q of %q (%v)", kind, name, server, s, ok, gotName, gotServer, back)
				}
			}
			if gotServer, gotURI, ok := mcpproxy.PartedURI(mcpproxy.JoinedURI(server, name)); !ok || gotServer != server || gotURI != name {
				t.Errorf("URI %q of %q came back as %q of %q", name, server, gotURI, gotServer)
			}
		}
		// Any string stands for one offer at most, and only for one that is
		// spelled exactly so.
		for _, s := range []string{server, name, server + "__" + name, "rutile+" + server + ":" + name} {
			for _, kind := range kinds {
				if srv, n, ok := mcpproxy.Parted(s, kind); ok {
					if again, _ := mcpproxy.Joined(srv, kind, n); again != s || !access.ValidID(srv) {
						t.Errorf("%q stands for %q of %q, which is %q", s, n, srv, again)
					}
				}
			}
			if srv, uri, ok := mcpproxy.PartedURI(s); ok {
				if again := mcpproxy.JoinedURI(srv, uri); again != s || !access.ValidID(srv) {
					t.Errorf("%q stands for %q of %q, which is %q", s, uri, srv, again)
				}
			}
		}
	})
}
