package discovery_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rutile/internal/discovery"
)

func TestCodeOwnersAreThoseOfTheLastPatternThatMatches(t *testing.T) {
	for name, c := range map[string]struct{ text, file, want string }{
		"all":                     {"* @acme/all", ".mcp.json", "acme/all"},
		"the last counts":         {"* @acme/all\n*.json @acme/json @ann", "a/b/.mcp.json", "acme/json ann"},
		"nobody, said later":      {"* @acme/all\n/vendor/", "vendor/.mcp.json", ""},
		"a folder at the root":    {"/tools/ @acme/tools", "tools/x/.mcp.json", "acme/tools"},
		"of the root only":        {"/tools/ @acme/tools", "a/tools/.mcp.json", ""},
		"a folder anywhere":       {"tools/ @acme/tools", "a/tools/.mcp.json", "acme/tools"},
		"a folder is no file":     {"tools/ @acme/tools", "a/tools", ""},
		"files of a folder":       {"docs/* @acme/docs", "docs/.mcp.json", "acme/docs"},
		"and not below":           {"docs/* @acme/docs", "docs/x/.mcp.json", ""},
		"any depth":               {"apps/**/.mcp.json @acme/apps", "apps/a/b/.mcp.json", "acme/apps"},
		"no depth":                {"apps/**/.mcp.json @acme/apps", "apps/.mcp.json", "acme/apps"},
		"a folder without slash":  {"/apps/x @acme/x", "apps/x/y/.mcp.json", "acme/x"},
		"mail is not taken":       {"* ann@example.com @acme/all", ".mcp.json", "acme/all"},
		"comments and sections":   {"# * @no\n[Team] @no\n^[Other] @no\n* @acme/all # @no", ".mcp.json", "acme/all"},
		"odd words":               {"* @ @-x @a\u202eb @acme/all " + "@" + strings.Repeat("a", 200), ".mcp.json", "acme/all"},
		"a pattern that is wrong": {"[ab @x\n* @acme/all\na[ @x", ".mcp.json", "acme/all"},
		"many stars":              {strings.Repeat("**/a/", 300) + "b @x", strings.Repeat("a/", 19) + "c", ""},
	} {
		root := t.TempDir()
		for dir, text := range map[string]string{".git/HEAD": "", "CODEOWNERS": c.text} {
			file := filepath.Join(root, filepath.FromSlash(dir))
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(discovery.CodeOwners(filepath.Join(root, filepath.FromSlash(c.file))), " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// What is no plain small file owns nothing, and reading it does not hang.
func TestCodeOwnersOfOddFiles(t *testing.T) {
	root := t.TempDir()
	if got := discovery.CodeOwners(filepath.Join(root, "x", ".mcp.json")); got != nil {
		t.Errorf("outside of a repository: %v", got)
	}
	if err := os.MkdirAll(filepath.Join(root, ".git"), 0o700); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(target, []byte("* @acme/all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(root, "CODEOWNERS")); err != nil {
		t.Fatal(err)
	}
	if got := discovery.CodeOwners(filepath.Join(root, ".mcp.json")); got != nil {
		t.Errorf("through a link: %v", got)
	}
	if err := os.Remove(filepath.Join(root, "CODEOWNERS")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "CODEOWNERS"), slices.Concat([]byte("* @acme/all\n#"), make([]byte, 300<<10)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := discovery.CodeOwners(filepath.Join(root, ".mcp.json")); got != nil {
		t.Errorf("of a huge one: %v", got)
	}
}
