package console_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rutile/internal/grant"
)

// TestTheApprovalPageSpeaksTheReadersLanguage: the browser's, or the one chosen on the
// page, which stays chosen. What agents wrote, and what things are called, stays as it is.
func TestTheApprovalPageSpeaksTheReadersLanguage(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	req := r.ask(`{"item":"tea"}`, func(a *grant.Ask) { a.Reason = "Guests come" })
	at := "/approve/" + req.ID
	b := r.signedIn("ann", req.ID)
	b.get(at).wants(t, "by default", http.StatusOK, `<html lang="en">`, `href="/console/requests"`, "An agent asks to use", "Approve: once, exactly this", "Guests come", `value="ko"`)
	b.change = func(q *http.Request) { q.Header.Set("Accept-Language", "fr, ko-KR;q=0.9, en;q=0.8") }
	b.get(at).wants(t, "by the browser", http.StatusOK, `<html lang="ko">`, "에이전트가 사용을 요청합니다", "승인: 정확히 이 호출 한 번", "텍스트, 3자, 1줄", "Guests come", "<code>shop/order</code>", `value="en"`)
	chosen := b.do("POST", "/console/language", url.Values{"lang": {"en"}, "back": {at}})
	if chosen.status != http.StatusSeeOther || chosen.header.Get("Location") != at {
		t.Fatalf("choosing: %d %s", chosen.status, chosen.header.Get("Location"))
	}
	b.get(at).wants(t, "chosen", http.StatusOK, `<html lang="en">`, "An agent asks to use")
	b.do("POST", "/console/language", url.Values{"lang": {"ko"}, "back": {at}})
	b.change = nil
	for back, to := range map[string]string{"https://evil.example/": "/console/", "/approve/../evil": "/console/", "/approve//evil.example": "/console/", "/approve/req_1": "/console/"} {
		if a := b.do("POST", "/console/language", url.Values{"lang": {"ko"}, "back": {back}}); a.header.Get("Location") != to {
			t.Errorf("%s leads to %s", back, a.header.Get("Location"))
		}
	}
	b.answer(req.ID, "approve", "minutes", "x").wants(t, "a problem", http.StatusBadRequest, "아무것도 하지 않았습니다")
	if a := b.answer(req.ID, "approve", "minutes", "1"); a.status != http.StatusSeeOther {
		t.Fatalf("approving: %d %s", a.status, text(a.body))
	}
	b.get(at).wants(t, "after it", http.StatusOK, "상태: 발급됨", "에이전트가 다시 호출하면 통과합니다", "호출 1회")
	b.get("/approve/none").wants(t, "no page", http.StatusNotFound, `<html lang="ko">`, "아무것도 하지 않았습니다")
}

// TestEveryTextHasItsTranslation: what the pages and their code say in English is in
// the Korean table, with as many places for what belongs into it.
func TestEveryTextHasItsTranslation(t *testing.T) {
	raw, err := os.ReadFile("ko.json")
	if err != nil {
		t.Fatal(err)
	}
	var ko map[string]string
	if err := json.Unmarshal(raw, &ko); err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, where := range []struct {
		files string
		say   *regexp.Regexp
	}{
		{"views/*.html", regexp.MustCompile(`[({ ]t "((?:[^"\\]|\\.)*)"`)},
		{"page.html", regexp.MustCompile(`[({ ]t "((?:[^"\\]|\\.)*)"`)},
		{"*.go", regexp.MustCompile(`(?:words|w|wordsOf\(r\))\.t\("((?:[^"\\]|\\.)*)"`)},
		{"*.go", regexp.MustCompile(`w(?:ords)?\.n\([^,"]+, "((?:[^"\\]|\\.)*)", "((?:[^"\\]|\\.)*)"`)}, // one, and many
	} {
		list, err := filepath.Glob(where.files)
		if err != nil || len(list) == 0 {
			t.Fatalf("%s: %v", where.files, err)
		}
		for _, name := range list {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range where.say.FindAllStringSubmatch(string(b), -1) {
				for _, text := range m[1:] {
					said[text] = true
				}
			}
		}
	}
	if len(said) < 200 {
		t.Fatalf("only %d texts were found", len(said))
	}
	// What is shown of states is a text too.
	for _, list := range [][]grant.State{grant.RequestStates(), grant.GrantStates(), grant.UseStates(), grant.TaskStates(), {grant.ReviewDue, grant.ReviewOverdue, grant.ReviewDone}} {
		for _, s := range list {
			said[string(s)] = true
		}
	}
	verb := regexp.MustCompile(`%[ds]`)
	for text := range said {
		other, ok := ko[text]
		if !ok {
			t.Errorf("%q has no translation", text)
		} else if got, want := verb.FindAllString(other, -1), verb.FindAllString(text, -1); strings.Join(got, "") != strings.Join(want, "") {
			t.Errorf("%q takes %v, its translation %v", text, want, got)
		}
	}
}
