package rutile_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers is the import rule: a package imports only from layers below its own;
// packages of one layer never meet. A package that is not here does not exist;
// docs/architecture.md tells which layer a new one belongs to.
var layers = map[string]int{
	"rawjson":   0,
	"argument":  0,
	"glyph":     0,
	"throttle":  0,
	"access":    1,
	"mcpheader": 1,

	"identity":   2,
	"registry":   2,
	"policy":     2,
	"grant":      2,
	"fact":       2,
	"finding":    2,
	"risk":       2,
	"boundary":   2,
	"conduct":    2,
	"judge":      2,
	"flow":       2,
	"credential": 2,
	"inspect":    2,
	"audit":      2,
	"confine":    2,
	"webhook":    2,
	"revocation": 2,
	"signin":     2,
	"signal":     2,
	"notice":     2,

	"pdp":       3,
	"sink":      3,
	"discovery": 3,
	"monitor":   3,

	"gate":      4,
	"admin":     4,
	"petition":  4,
	"rehearsal": 4,
	"privilege": 4,

	"compliance": 4,

	"mcpproxy": 5,
	"a2aproxy": 5,
	"oauth":    5,
	"shim":     5,
	"ssf":      5,

	"mcpregistry": 5,

	"api":     5,
	"console": 5,
	"store":   5,

	"daemon": 6,
	"demo":   7,

	"cli":         8,
	"gatetest":    8,
	"browsertest": 8,

	"schematest": 8,
}

// testSupport may be imported by tests only.
var testSupport = []string{"gatetest", "browsertest", "schematest", "store/pgtest", "store/storetest", "signin/signintest", "credential/oauthclient/astest"}

// libraries names who may import a library, in tests too.
var libraries = map[string][]string{
	"github.com/cedar-policy/":         {"internal/policy"},
	"database/sql":                     {"internal/store"},
	"modernc.org/sqlite":               {"internal/store"},
	"github.com/jackc/pgx/":            {"internal/store"},
	"github.com/pressly/goose/":        {"internal/store"},
	"github.com/tink-crypto/":          {"internal/credential"},
	"github.com/aws/":                  {"internal/credential"},
	"github.com/santhosh-tekuri/":      {"internal/grant", "internal/registry", "internal/schematest"},
	"github.com/tailscale/hujson":      {"internal/discovery"},
	"github.com/pelletier/go-toml":     {"internal/discovery"},
	"github.com/goccy/go-yaml":         {"internal/discovery/wrap"},
	"github.com/BurntSushi/toml":       {"internal/discovery"},
	"github.com/modelcontextprotocol/": {"internal/gatetest", "internal/browsertest", "bench"},
	"github.com/go-webauthn/":          {"internal/signin"},
	"github.com/wneessen/":             {"internal/notice"},
	"github.com/coreos/":               {"internal/signin"},
	"github.com/shirou/":               {"internal/discovery/process"},
	"github.com/fsnotify/":             {"internal/discovery/watch"},
	"github.com/spf13/":                {"internal/cli", "cmd"},
	"github.com/stretchr/":             {},
	"go.uber.org/mock":                 {},
}

// libraryTests adds who may use a library in its tests only.
var libraryTests = map[string][]string{
	// The SDK is a peer to test against, never a part.
	"github.com/modelcontextprotocol/": {"internal/mcpproxy", "internal/oauth", "internal/demo", "internal/daemon"},
}

type imports struct {
	file string // slash-separated, from the root of the module
	pkg  string // its directory
	test bool
	path string // what is imported
}

func TestImportsFollowTheLayers(t *testing.T) {
	for _, i := range sourceImports(t) {
		to, ours := strings.CutPrefix(i.path, "rutile/internal/")
		from, internal := strings.CutPrefix(i.pkg, "internal/")
		if !ours {
			continue
		}
		if slices.Contains(testSupport, to) && !i.test && !strings.HasPrefix(i.pkg, "internal/gatetest") && !slices.Contains(testSupport, from) {
			t.Errorf("%s: imports %s, which is for tests only", i.file, i.path)
		}
		if i.test || !internal {
			continue // a test may stand above what it tests
		}
		if to == "store" && from != "daemon" && !slices.Contains(testSupport, from) {
			t.Errorf("%s: imports store; only daemon and tests do", i.file)
		}
		lf, okFrom := layer(from)
		lt, okTo := layer(to)
		switch {
		case !okFrom || !okTo: // reported by TestEveryPackageHasALayer
		case room(from) == room(to):
		case lt >= lf:
			t.Errorf("%s: %s (layer %d) imports %s (layer %d); imports go to lower layers only", i.file, from, lf, to, lt)
		}
	}
}

func TestEveryPackageHasALayer(t *testing.T) {
	seen := map[string]bool{}
	for _, i := range sourceImports(t) {
		if p, ok := strings.CutPrefix(i.pkg, "internal/"); ok {
			seen[p] = true
		}
	}
	if len(seen) < 10 {
		t.Fatalf("only %d packages found under internal: the walk is broken", len(seen))
	}
	for _, p := range slices.Sorted(maps.Keys(seen)) {
		if _, ok := layer(p); !ok {
			t.Errorf("internal/%s is in no layer; docs/architecture.md says where new code goes", p)
		}
		if base := path.Base(p); slices.Contains([]string{"util", "utils", "common", "helpers", "types", "models", "misc"}, base) {
			t.Errorf("internal/%s: %q names no idea", p, base)
		}
	}
}

func TestLibrariesStayInTheirRooms(t *testing.T) {
	for _, i := range sourceImports(t) {
		for lib, rooms := range libraries {
			if i.path != strings.TrimSuffix(lib, "/") && !strings.HasPrefix(i.path, strings.TrimSuffix(lib, "/")+"/") {
				continue
			}
			if i.test {
				rooms = slices.Concat(rooms, libraryTests[lib])
			}
			if !slices.ContainsFunc(rooms, func(r string) bool { return i.pkg == r || strings.HasPrefix(i.pkg, r+"/") }) {
				t.Errorf("%s: imports %s, which only %v may", i.file, i.path, rooms)
			}
		}
	}
}

// layer returns the layer of a package or of the room it is inside of.
func layer(pkg string) (int, bool) {
	l, ok := layers[room(pkg)]
	return l, ok
}

func room(pkg string) string {
	r, _, _ := strings.Cut(pkg, "/")
	return r
}

// sourceImports reads the imports of every Go file of the module, of every
// operating system: build constraints hide nothing from it. A file without
// imports appears with an empty path.
func sourceImports(t *testing.T) []imports {
	t.Helper()
	var all []imports
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(file) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		one := imports{file: file, pkg: path.Dir(file), test: strings.HasSuffix(file, "_test.go")}
		all = append(all, one)
		for _, spec := range f.Imports {
			if one.path, err = strconv.Unquote(spec.Path.Value); err != nil {
				return err
			}
			all = append(all, one)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("reading the sources: %v", err)
	}
	return all
}
