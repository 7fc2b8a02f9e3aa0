package watch_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"rutile/internal/discovery/watch"
)

// tree makes and changes files below a folder.
type tree struct {
	t   *testing.T
	dir string
}

func (x tree) at(name string) string { return filepath.Join(x.dir, filepath.FromSlash(name)) }

func (x tree) write(name, text string) {
	x.must(os.MkdirAll(filepath.Dir(x.at(name)), 0o700))
	x.must(os.WriteFile(x.at(name), []byte(text), 0o600))
}

func (x tree) mkdir(name string)        { x.must(os.Mkdir(x.at(name), 0o700)) }
func (x tree) remove(name string)       { x.must(os.RemoveAll(x.at(name))) }
func (x tree) rename(from, to string)   { x.must(os.Rename(x.at(from), x.at(to))) }
func (x tree) link(to, name string)     { x.must(os.Symlink(to, x.at(name))) }
func (x tree) chmod(n string, m uint32) { x.must(os.Chmod(x.at(n), os.FileMode(m))) }

func (x tree) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// TestFilesTellsOfEveryChange: whatever changes what a path leads to is told of,
// step by step, also where the path is not there yet.
func TestFilesTellsOfEveryChange(t *testing.T) {
	for _, tt := range []struct {
		name  string
		path  string
		setup func(tree)
		steps []func(tree)
	}{
		{"written in place", "a/mcp.json", func(x tree) { x.write("a/mcp.json", "{}") }, []func(tree){
			func(x tree) { x.write("a/mcp.json", "{ }") },
		}},
		{"replaced by another", "a/mcp.json", func(x tree) { x.write("a/mcp.json", "{}") }, []func(tree){
			func(x tree) { x.write("a/.new", "{ }"); x.rename("a/.new", "a/mcp.json") },
			func(x tree) { x.write("a/.new", "{  }"); x.rename("a/.new", "a/mcp.json") },
		}},
		{"not there yet", "a/mcp.json", func(x tree) { x.mkdir("a") }, []func(tree){
			func(x tree) { x.write("a/mcp.json", "{}") },
		}},
		{"nor its folders", "a/b/c/mcp.json", func(tree) {}, []func(tree){
			func(x tree) { x.mkdir("a") }, func(x tree) { x.mkdir("a/b") }, func(x tree) { x.mkdir("a/b/c") }, func(x tree) { x.write("a/b/c/mcp.json", "{}") },
		}},
		{"removed", "a/mcp.json", func(x tree) { x.write("a/mcp.json", "{}") }, []func(tree){
			func(x tree) { x.remove("a/mcp.json") }, func(x tree) { x.write("a/mcp.json", "{}") },
		}},
		{"its folder removed and made again", "a/mcp.json", func(x tree) { x.write("a/mcp.json", "{}") }, []func(tree){
			func(x tree) { x.remove("a") }, func(x tree) { x.mkdir("a") }, func(x tree) { x.write("a/mcp.json", "{}") },
		}},
		{"its folder replaced by another", "a/b/mcp.json", func(x tree) { x.write("a/b/mcp.json", "{}"); x.write("z/b/mcp.json", "{ }") }, []func(tree){
			func(x tree) { x.rename("a", "old"); x.rename("z", "a") }, func(x tree) { x.write("a/b/mcp.json", "{  }") },
		}},
		{"a link that leads elsewhere", "mcp.json", func(x tree) { x.write("x/1.json", "{}"); x.write("y/2.json", "{}"); x.link("x/1.json", "mcp.json") }, []func(tree){
			func(x tree) { x.link("y/2.json", "new"); x.rename("new", "mcp.json") }, func(x tree) { x.write("y/2.json", "{ }") },
		}},
		{"what a link leads to", "mcp.json", func(x tree) { x.write("dot/files/real.json", "{}"); x.link("dot/files/real.json", "mcp.json") }, []func(tree){
			func(x tree) { x.write("dot/files/real.json", "{ }") },
		}},
		{"what links to links lead to", "mcp.json", func(x tree) { x.write("c/3", "{}"); x.mkdir("b"); x.link("../c/3", "b/2"); x.link("b/2", "mcp.json") }, []func(tree){
			func(x tree) { x.write("c/3", "{ }") }, func(x tree) { x.remove("b/2") },
		}},
		{"a link to nothing yet", "mcp.json", func(x tree) { x.mkdir("dot"); x.link("dot/real.json", "mcp.json") }, []func(tree){
			func(x tree) { x.write("dot/real.json", "{}") },
		}},
		{"a folder that is a link", "a/mcp.json", func(x tree) { x.write("v1/mcp.json", "{}"); x.write("v2/mcp.json", "{}"); x.link("v1", "a") }, []func(tree){
			func(x tree) { x.write("v1/mcp.json", "{ }") }, func(x tree) { x.link("v2", "n"); x.rename("n", "a") }, func(x tree) { x.write("v2/mcp.json", "{ }") },
		}},
		{"another folder of a kind", "profiles/*/mcp.json", func(x tree) { x.write("profiles/one/mcp.json", "{}") }, []func(tree){
			func(x tree) { x.mkdir("profiles/two") }, func(x tree) { x.write("profiles/two/mcp.json", "{}") },
		}},
		{"deep below", "plugins/**/mcp.json", func(x tree) { x.write("plugins/a/b/other", "") }, []func(tree){
			func(x tree) { x.write("plugins/a/b/mcp.json", "{}") }, func(x tree) { x.mkdir("plugins/a/c") }, func(x tree) { x.write("plugins/a/c/mcp.json", "{}") },
		}},
		{"who may read it", "tokens", func(x tree) { x.write("tokens", "") }, []func(tree){
			func(x tree) { x.chmod("tokens", 0o644) },
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := tree{t, t.TempDir()}
			tt.setup(x)
			f := watch.NewFiles()
			defer f.Close()
			set := func() {
				for added := true; added; {
					var blind int
					if added, blind = f.Set([]string{filepath.ToSlash(x.dir) + "/" + tt.path}, []string{filepath.ToSlash(x.dir)}); blind > 0 {
						t.Fatalf("%d folders are not watched", blind)
					}
				}
				select { // what was told of the change before
				case <-f.Changed():
				default:
				}
			}
			set()
			for i, step := range tt.steps {
				step(x)
				select {
				case <-f.Changed():
				case <-time.After(10 * time.Second):
					t.Fatalf("step %d was not told of", i+1)
				}
				set()
			}
		})
	}
}

// TestOtherFilesAreNotToldOf: what else is written beside a watched file wakes
// nobody.
func TestOtherFilesAreNotToldOf(t *testing.T) {
	x := tree{t, t.TempDir()}
	home := filepath.ToSlash(x.dir)
	f, other := watch.NewFiles(), watch.NewFiles()
	defer f.Close()
	defer other.Close()
	f.Set([]string{home + "/mcp.json", home + "/*.code-workspace"}, []string{home})
	other.Set([]string{home + "/last"}, []string{home})
	for _, n := range []string{"a", "b.json", "x.workspace", "last"} {
		x.write(n, "x")
	}
	<-other.Changed()
	select {
	case <-f.Changed():
		t.Error("told of a file nobody looks for")
	default:
	}
}

// TestLinksThatLeadToOneAnotherEnd: a circle of links is followed no further than
// any way to a file is.
func TestLinksThatLeadToOneAnotherEnd(t *testing.T) {
	x := tree{t, t.TempDir()}
	x.link("b", "a")
	x.link("a", "b")
	x.mkdir("d")
	x.link("..", "d/up")
	f := watch.NewFiles()
	defer f.Close()
	home := filepath.ToSlash(x.dir)
	if _, blind := f.Set([]string{home + "/a", home + "/a/b/c", home + "/d/**/mcp.json", home + "/d/*/*/*/*/*/*"}, []string{home}); blind > 0 {
		t.Errorf("%d folders are not watched", blind)
	}
}
