package admin_test

import (
	"os"
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/policy"
)

// What the document about policies shows must apply, and its tests must pass.
func TestPolicyDocumentIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	var docs []admin.Document
	var tests []policy.TestFile
	for i, part := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		if strings.HasPrefix(block, "kind: PolicyTest") {
			tests = append(tests, policy.TestFile{Path: "policy.md", Text: block})
		} else {
			docs = append(docs, admin.Document{File: "policy.md", Text: block})
		}
		if i > 1 {
			t.Error("another block: is it tested?")
		}
	}
	view, rights, policies, err := admin.Declare(docs, day)
	if err != nil {
		t.Fatal(err)
	}
	r := policy.RunTests(tests, policies, admin.Catalog(view, rights))
	if !r.OK() || len(r.Tests) != 3 {
		t.Errorf("%+v", r)
	}
	for _, w := range r.Warnings {
		if w.Policy == "release-window" {
			t.Error(w)
		}
	}
}
