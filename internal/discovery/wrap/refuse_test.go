package wrap_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"rutile/internal/discovery/wrap"
)

// What cannot be restored to the byte, or is not ours to change, is refused with the
// reason, and stays as it is.
func TestUnsafeFilesAreRefused(t *testing.T) {
	entry := `"one": {"command": "npx", "args": ["-y", "@acme/one"]}`
	for name, c := range map[string]struct {
		text string
		make func(h *home, file string)
		opts func(*wrap.Options)
		why  string
	}{
		"a name twice":       {text: `{"mcpServers": {` + entry + `, ` + entry + `}}`, why: "programs read it differently"},
		"the root twice":     {text: `{"mcpServers": {` + entry + `}, "mcpServers": {}}`, why: "programs read it differently"},
		"another case":       {text: `{"mcpServers": {` + entry + `}, "MCPSERVERS": {"two": {"command": "x"}}}`, why: "programs read it differently"},
		"a member twice":     {text: `{"mcpServers": {"one": {"command": "a", "command": "b"}}}`, why: "programs read it differently"},
		"no JSON":            {text: `{"mcpServers": {` + entry, why: "cannot be parsed"},
		"NUL":                {text: "{\"mcpServers\": {" + entry + "}, \"x\": \"\x00\"}", why: "cannot be parsed"},
		"UTF-16":             {text: "\xff\xfe{\x00}\x00", why: "cannot be parsed"},
		"both":               {text: `{"mcpServers": {"one": {"command": "x", "url": "https://a.example/mcp"}}}`, why: "a command and an address"},
		"a secret in env":    {text: `{"mcpServers": {"one": {"command": "x", "env": {"API_TOKEN": "hunter2hunter2"}}}}`, opts: func(o *wrap.Options) { o.MoveSecrets = false }, why: "--move-secrets"},
		"a secret in a url":  {text: `{"mcpServers": {"one": {"url": "https://a.example/mcp?key=hunter2hunter2"}}}`, why: "address holds a secret"},
		"a user in a url":    {text: `{"mcpServers": {"one": {"url": "https://me:hunter2hunter2@a.example/mcp"}}}`, why: "address holds a secret"},
		"a filled header":    {text: `{"mcpServers": {"one": {"url": "https://a.example/mcp", "headers": {"Authorization": "Bearer ${env:X}"}}}}`, why: "fills in"},
		"a relative command": {text: `{"mcpServers": {"one": {"command": "./server"}}}`, why: "relative path"},
		"websocket":          {text: `{"mcpServers": {"one": {"url": "wss://a.example/mcp"}}}`, why: "https://"},
		"hard link": {text: `{"mcpServers": {` + entry + `}}`, why: "hard links", make: func(h *home, file string) {
			if err := os.Link(file, file+".other"); err != nil {
				h.t.Fatal(err)
			}
		}},
		"too large": {text: `{"mcpServers": {` + entry + `}, "x": "` + strings.Repeat("x", 20<<20) + `"}`, why: "MiB"},
		"link out of the home": {text: `{}`, why: "link that leads out", make: func(h *home, file string) {
			out := filepath.Join(filepath.Dir(h.dir), "elsewhere.json")
			if err := os.WriteFile(out, []byte(`{"mcpServers": {`+entry+`}}`), 0o600); err != nil {
				h.t.Fatal(err)
			}
			if err := os.Remove(file); err != nil {
				h.t.Fatal(err)
			}
			if err := os.Symlink(out, file); err != nil {
				h.t.Fatal(err)
			}
		}},
		"a folder": {text: `{}`, why: "regular", make: func(h *home, file string) {
			if err := os.Remove(file); err != nil {
				h.t.Fatal(err)
			}
			if err := os.Mkdir(file, 0o755); err != nil {
				h.t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, file := cursorHome(t)
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.make != nil {
				c.make(h, file)
			}
			if c.opts != nil {
				c.opts(&h.opts)
			}
			before, _ := os.ReadFile(file)
			f := h.file(file)
			routes, why := h.routes(f)
			said := why[""] + why["one"]
			if len(routes) > 0 {
				err := h.locked(func() error { return h.book.Wrap(f, routes) })
				if err == nil {
					t.Fatal("it was written")
				}
				said = err.Error()
			}
			if !strings.Contains(said, c.why) {
				t.Errorf("it says %q and not %q", said, c.why)
			}
			if strings.Contains(said, "hunter2hunter2") {
				t.Errorf("a secret is in %q", said)
			}
			if now, _ := os.ReadFile(file); string(now) != string(before) {
				t.Error("the file changed")
			}
		})
	}
}

// Files of projects wait for a word of their own.
func TestFilesOfProjectsNeedAWord(t *testing.T) {
	h := newHome(t)
	project := filepath.Join(h.dir, "src", "shop")
	file := h.write("src/shop/.mcp.json", `{"mcpServers": {"one": {"command": "npx", "args": ["-y", "@acme/one"]}}}`)
	h.paths = []string{project}
	h.opts.IncludeProject = false
	if _, why := h.routes(h.file(file)); !strings.Contains(why[""], "--include-project") || strings.Contains(why[""], "version control") {
		t.Errorf("it says %v", why)
	}
	h.write("src/.git/HEAD", "ref: x")
	if _, why := h.routes(h.file(file)); !strings.Contains(why[""], "version control") {
		t.Errorf("under version control it says %v", why)
	}
	h.opts.IncludeProject = true
	if routes, why := h.routes(h.file(file)); len(routes) != 1 {
		t.Errorf("with the word it says %v", why)
	}
}

// A link inside of the home stays one, and what it leads to is edited. One that is
// turned while we work leaves everything as it was.
func TestLinksInsideTheHomeAreFollowed(t *testing.T) {
	h, file := cursorHome(t)
	real := h.write("dotfiles/mcp.json", twoServers)
	link := func(to string) {
		_ = os.Remove(file)
		if err := os.Symlink(to, file); err != nil {
			t.Fatal(err)
		}
	}
	link(real)
	h.wrapped(file)
	if to, err := os.Readlink(file); err != nil || to != real {
		t.Errorf("the link is %q %v", to, err)
	}
	if strings.Count(h.read(real), shim) != 2 {
		t.Error("what it leads to was not edited")
	}
	h.unwrapped(file)
	if h.read(real) != twoServers {
		t.Error("it did not come back")
	}
	other := h.write("dotfiles/other.json", twoServers+"\n")
	f := h.file(file)
	routes, _ := h.routes(f)
	turned := false
	h.book.Disk = &fault{left: 1 << 30, hook: func(_ int, call string) {
		if call == "attributes" && !turned {
			turned = true
			link(other)
		}
	}}
	if err := h.locked(func() error { return h.book.Wrap(f, routes) }); err != nil {
		t.Fatal(err)
	}
	h.book.Disk = quick{}
	if h.read(real) != twoServers {
		t.Error("what the link led to before was edited")
	}
	h.unwrapped(file)
	if h.read(other) != twoServers+"\n" {
		t.Errorf("what it leads to now came back as %q", h.read(other))
	}
	if left := h.leftovers(); len(left) > 0 {
		t.Errorf("left behind %v", left)
	}
}

// Two that wrap at once do it one after the other, or one says that it has to wait.
func TestTwoWrapsAtOnce(t *testing.T) {
	h, file := cursorHome(t)
	f := h.file(file)
	routes, _ := h.routes(f)
	var wg sync.WaitGroup
	for i := range 2 {
		other := &wrap.Book{Dir: filepath.Join(filepath.Dir(h.book.Dir), "wrap"+string(rune('0'+i))), Disk: quick{}, Now: h.book.Now}
		wg.Go(func() {
			free, err := other.Lock()
			if err != nil {
				t.Error(err)
				return
			}
			defer free()
			_ = other.Wrap(f, routes) // with journals of their own: who comes second finds other entries
		})
	}
	wg.Wait()
	if got := h.read(file); strings.Count(got, shim) != 2 {
		t.Errorf("the file is\n%s", got)
	}
	free, err := h.book.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer free()
	if _, err := h.book.Lock(); err == nil || !strings.Contains(err.Error(), "another rutile") {
		t.Errorf("the lock of one journal was given twice: %v", err)
	}
}

// An entry that was taken away stays away, one that leads elsewhere by now is left
// alone, and a switch that was turned in ours stays turned.
func TestUnwrapKeepsWhatPeopleDecided(t *testing.T) {
	h, file := cursorHome(t)
	h.wrapped(file)
	now := h.read(file)
	edited := strings.Replace(now, `"connect", "one"`, `"serve", "one"`, 1)
	edited = strings.Replace(edited, `"two", "--agent", "a"]`, `"two", "--agent", "a"], "disabled": true`, 1)
	if err := os.WriteFile(file, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range h.unwrapped(file) {
		got = append(got, o.Name+" "+o.Result)
	}
	if s := strings.Join(got, ", "); s != "one reverted, two merged" {
		t.Errorf("it says %s", s)
	}
	text := h.read(file)
	if !strings.Contains(text, `"serve", "one"`) || !strings.Contains(text, `"disabled": true`) || !strings.Contains(text, "@acme/two") || strings.Contains(text, `"connect"`) {
		t.Errorf("the file is\n%s", text)
	}
	if err := os.WriteFile(file, []byte(twoServers), 0o600); err != nil {
		t.Fatal(err)
	}
	h.wrapped(file)
	gone := strings.Replace(h.read(file), `"one": `, `"gone": `, 1)
	if err := os.WriteFile(file, []byte(gone), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range h.unwrapped(file) {
		if o.Name == "one" && o.Result != wrap.Removed {
			t.Errorf("the entry that was taken away is %s", o.Result)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if out := h.unwrapped(file); len(out) != 0 {
		t.Errorf("a second unwrap says %v", out)
	}
}

// What a client or a person did since is told of every entry.
func TestStatusTellsOfEveryEntry(t *testing.T) {
	h, file := cursorHome(t)
	h.wrapped(file)
	text := h.read(file)
	text = strings.Replace(text, `"two": `, `"other two": `, 1)
	one := `"one": {"command": "npx", "args": ["-y", "@acme/one"]}`
	start := strings.Index(text, `"one": {`)
	end := start + strings.Index(text[start:], "}") + 1
	text = text[:start] + one + `, "second": {"command": "npx", "args": ["-y", "@acme/two"]}, "new": {"command": "npx", "args": ["-y", "@acme/new"]}` + text[end:]
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	records, err := h.book.Records()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range wrap.Compare(h.files(), records, h.describe(), func(string) bool { return true }, func(p string) string { return p }) {
		got[s.Entry] = s.Status
	}
	want := map[string]string{"one": wrap.StatusReverted, "second": wrap.StatusBypassed, "new": wrap.StatusNew, "other two": wrap.StatusWrapped, "two": wrap.StatusMissing}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
}

// The gateway keeps the command and the settings; secrets are apart, wherever they
// stood.
func TestUpstreamKeepsSecretsApart(t *testing.T) {
	h, file := cursorHome(t)
	dir := filepath.Join(h.dir, "docs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text := `{"mcpServers": {"one": {"command": "npx", "args": ["-y", "@acme/one@1.2.3", "--token", "hunter2hunter2", "--header", "X-Key: s3cr3ts3cr3t", "` + dir + `"],
		"env": {"API_TOKEN": "t0ps3cret", "MODE": "fast", "PORT": "8080"}},
		"two": {"url": "https://a.example/mcp", "headers": {"Authorization": "Bearer abcabcabc"}}}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := h.file(file)
	one, err := wrap.Of(f, &f.Entries[0], h.opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append([]string{one.Command}, one.Args...) {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "s3cr3t") {
			t.Errorf("a secret is in the command: %q", s)
		}
	}
	if one.SecretArgs[3] != "hunter2hunter2" || one.SecretArgs[5] != "X-Key: s3cr3ts3cr3t" || one.SecretEnv["API_TOKEN"] != "t0ps3cret" || len(one.SecretEnv) != 1 || one.Env["MODE"] != "fast" || one.Env["PORT"] != "8080" {
		t.Errorf("it is %+v", one)
	}
	if one.Args[1] != "@acme/one@1.2.3" || len(one.Write) != 1 || one.Write[0] != dir {
		t.Errorf("it is %+v", one)
	}
	two, err := wrap.Of(f, &f.Entries[1], h.opts)
	if err != nil || two.SecretHeaders["Authorization"] != "Bearer abcabcabc" || two.URL != "https://a.example/mcp" {
		t.Errorf("it is %+v %v", two, err)
	}
	h.opts.Private = []string{filepath.Join(dir, "gateway")}
	if again, err := wrap.Of(f, &f.Entries[0], h.opts); err != nil || len(again.Write) != 0 {
		t.Errorf("a folder with the gateway's data in it is granted: %+v %v", again, err)
	}
}

// A program may read what it is made of and what it needs, wherever its kind keeps
// that, and nothing beside it.
func TestProgramsMayReadWhatTheyNeed(t *testing.T) {
	h, file := cursorHome(t)
	tree := func(name string) string {
		full := filepath.Join(h.dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, nil, 0o755)); err != nil {
			t.Fatal(err)
		}
		return full
	}
	tree("node/package.json")
	tree("node/secrets.txt")
	tree("node/node_modules/@acme/one/package.json")
	one := tree("node/node_modules/@acme/one/dist/index.js")
	tree("repo/node_modules/zod/package.json")
	tree("repo/packages/two/package.json")
	two := tree("repo/packages/two/dist/index.js")
	tree("venv/pyvenv.cfg")
	three := tree("venv/lib/python3/site-packages/three/server.py")
	four := tree("plain/four.py")
	linked := filepath.Join(h.dir, "bin", "one")
	if err := errors.Join(os.Mkdir(filepath.Dir(linked), 0o755), os.Symlink(one, linked)); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		command, arg string
		want         []string
	}{
		{"node", one, []string{"node/node_modules/@acme/one", "node/node_modules"}},
		{"node", two, []string{"repo/packages/two", "repo/node_modules"}},
		{"python3", three, []string{"venv"}},
		{"python3", four, []string{"plain"}},
		{linked, "stdio", []string{"node/node_modules/@acme/one", "node/node_modules"}},
		{filepath.Join(h.dir, "bin", "nothing"), "stdio", nil},
	} {
		text, err := json.Marshal(map[string]any{"mcpServers": map[string]any{"x": map[string]any{"command": row.command, "args": []string{row.arg}}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		f := h.file(file)
		up, err := wrap.Of(f, &f.Entries[0], h.opts)
		if err != nil {
			t.Fatalf("%s %s: %v", row.command, row.arg, err)
		}
		var got []string
		for _, dir := range up.Read {
			rel, err := filepath.Rel(h.dir, dir)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, filepath.ToSlash(rel))
		}
		if !slices.Equal(got, row.want) || len(up.Write) != 0 {
			t.Errorf("%s %s may read %q and write %q, want %q", row.command, row.arg, got, up.Write, row.want)
		}
	}
}

// A binary that moved does not keep anybody from getting the own servers back, and a
// copy of the journal is enough.
func TestUnwrapNeedsTheJournalOnly(t *testing.T) {
	h, file := cursorHome(t)
	h.wrapped(file)
	if err := filepath.WalkDir(h.book.Dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "lock" {
			if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	moved := filepath.Join(filepath.Dir(h.book.Dir), "copy")
	if err := os.CopyFS(moved, os.DirFS(h.book.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(h.book.Dir); err != nil {
		t.Fatal(err)
	}
	h.book.Dir = moved
	h.unwrapped(file)
	if got := h.read(file); got != twoServers {
		t.Errorf("it is\n%s", got)
	}
}
