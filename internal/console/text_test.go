package console_test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/console"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

func TestTextIsWhatItLooksLike(t *testing.T) {
	for in, want := range map[string]string{
		"plain, with: every/ASCII \\ sign":   "plain, with: every/ASCII \\ sign",
		"다음 주 회의 일정을 보내 주세요.":                "다음 주 회의 일정을 보내 주세요.",
		"README를 읽어":                         "README를 읽어",
		"日本語とカタカナ、句点。":                       "日本語とカタカナ、句点。",
		"Übergrößenträger ça va":             "Übergrößenträger ça va",
		"Tiếng Việt":                         "Tiếng Việt",
		"Привет, мир":                        "Привет, мир",
		"“word” — word":                      `\u{201c}word\u{201d} — word`,
		"a\u200bb\u2060\u00ad":               `a\u{200b}b\u{2060}\u{ad}`,
		"\u202edlrow\u202c \u2066x\u2069":    `\u{202e}dlrow\u{202c} \u{2066}x\u{2069}`,
		"p\u0430ypal":                        `p\u{430}ypal`,
		"\u0430\u0441\u0435":                 `\u{430}\u{441}\u{435}`, // "асе", each letter with a twin
		"\u0430\u0440\u0440\u04cf\u0435.com": `\u{430}\u{440}\u{440}\u{4cf}\u{435}.com`,
		"ｒｍ －ｒｆ":                             `\u{ff52}\u{ff4d} \u{ff0d}\u{ff52}\u{ff46}`,
		"𝐚𝐝𝐦𝐢𝐧":                              `\u{1d41a}\u{1d41d}\u{1d426}\u{1d422}\u{1d427}`,
		"e\u0301":                            `e\u{301}`,
		"a∕b ․․":                             `a\u{2215}b \u{2024}\u{2024}`,
		"my–bank":                            `my\u{2013}bank`,
		"ɡoogle ı":                           `\u{261}oogle \u{131}`,
		"pay 10 \u05d0 20":                   `pay 10 \u{5d0} 20`,
		"שלום עולם":                          "שלום עולם",
		"a\u00a0b\u3000c":                    `a\u{a0}b\u{3000}c`,
		"tag\U000e0041 \U000e0001x":          `tag\u{e0041} \u{e0001}x`,
		"unassigned \U000e0800":              `unassigned \u{e0800}`,
		"\u3164x\u115f\u2800":                `\u{3164}x\u{115f}\u{2800}`,
		" both ends  ":                       `\u{20}both ends\u{20}\u{20}`,
		"pretends \\u{200b}":                 `pretends \u{5c}u{200b}`,
		"null\x00esc\x1b[31m\r":              `null\u{0}esc\u{1b}[31m\u{d}`,
		"ok 👍":                               "ok 👍",
		"one\ntwo\tthree":                    "one\ntwo\tthree",
	} {
		if got := console.Block(in); got != want {
			t.Errorf("%+q is shown as %s, want %s", in, got, want)
		}
	}
	if got := console.Line("one\ntwo\tthree"); got != `one\u{a}two\u{9}three` {
		t.Error(got)
	}
}

// TestWhatIsSpelledOutIsNotSpelledOutTwice: a comparison of definitions has its hidden
// characters spelled out when it comes, and what pretends to be is told from it still.
func TestWhatIsSpelledOutIsNotSpelledOutTwice(t *testing.T) {
	for _, in := range []string{"plain", "a\u200bb\x1b[31m", `pretends \u{200b}`, `twice \u{5c}u{200b}`, `\u{`, "p\u0430ypal", " both ends "} {
		if got, want := console.Spelled(admin.Visible(in)), console.Block(in); got != want {
			t.Errorf("%+q is shown as %s, want %s", in, got, want)
		}
	}
}

// FuzzTextDeceivesNobody: whatever comes in, nothing that is not seen comes out,
// and two texts are never shown alike.
func FuzzTextDeceivesNobody(f *testing.F) {
	for _, s := range []string{"", "a\u202eb", "\\u{202e}", `\u{5c}u{`, " ", "\n", "\u0430b", "\\", "\\\\u{"} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = strings.ToValidUTF8(a, "?"), strings.ToValidUTF8(b, "?")
		got := console.Line(a)
		for _, r := range got {
			if r != ' ' && (!unicode.IsGraphic(r) || unicode.IsSpace(r)) {
				t.Errorf("%q shows %U", a, r)
			}
		}
		if a != b && got == console.Line(b) {
			t.Errorf("%q and %q are shown alike: %s", a, b, got)
		}
	})
}

const hostile = `</pre></dd><script>alert(1)</script><img src=x onerror=alert(1)>"' onmouseover='x' {{.Form}} <!-- <style>*{display:none} ]]> &lt;b&gt; javascript:alert(1)`

// TestNothingBreaksOutOfItsPlace puts hostile text in every place an agent or a
// server writes to.
func TestNothingBreaksOutOfItsPlace(t *testing.T) {
	r := newRig(t)
	tool := `order"><script>alert(1)</script>`
	raw, err := json.Marshal(map[string]any{"name": tool, "inputSchema": map[string]any{"type": "object"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.admin.Observe(t.Context(), "shop", registry.Listing{Definitions: []registry.Definition{{Name: tool, Raw: raw}}}); err != nil {
		t.Fatal(err)
	}
	approveTool(t, r, tool)
	def, _ := r.admin.Current().View.Tool("shop", tool)
	party := grant.Party{Agent: "bot", Issuer: `https://idp.example/"><script>`, Subject: `"><script>alert(1)</script>`}
	task, err := r.broker.OpenTask(t.Context(), party, "", "agent:bot", grant.TaskSpec{Purpose: hostile, Ticket: "<script>alert(1)</script>"})
	if err != nil {
		t.Fatal(err)
	}
	args, err := json.Marshal(map[string]any{hostile: hostile, "list": []any{hostile, map[string]any{hostile: hostile}}, "\u202etxt": "\u202egpj.exe", "</style>": 1})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(args string) grant.Request {
		return r.ask(args, func(a *grant.Ask) {
			a.Party, a.Task, a.Reason, a.Target.Name, a.Policies = party, task.ID, hostile, tool, []string{`p"><script>`}
			a.Target.Digest = def.PinDigest
		})
	}
	first := ask(string(args))
	b := r.signedIn("ann", first.ID)
	page := b.get("/approve/" + first.ID)
	page.wants(t, "the page", http.StatusOK, html.EscapeString("<script>alert(1)</script>"), `\u{202e}gpj.exe`, `\u{202e}txt`)
	sound(t, page.body)
	b.answer(first.ID, "approve", "reason", hostile)
	sound(t, b.get("/approve/"+first.ID).body)
	later(t, first)
	second := ask(`{"list":["x"]}`) // what differs is shown too
	page = r.signedIn("ann", second.ID).get("/approve/" + second.ID)
	page.wants(t, "what changed", http.StatusOK, "approved by user:ann", "not there")
	sound(t, page.body)
	b = r.signedIn("bob", second.ID)
	b.answer(second.ID, "deny", "reason", hostile)
	page = b.answer(second.ID, "approve")
	page.wants(t, "a denial", http.StatusConflict, "Denied by user:bob")
	sound(t, page.body)
}

// sound fails the test where a page has a tag, an attribute or a character that no
// template of ours wrote.
func sound(t *testing.T, page string) {
	t.Helper()
	page = regexp.MustCompile(`(?s)<style>.*?</style>`).ReplaceAllString(page, "")
	ours := regexp.MustCompile(`^</?(!DOCTYPE html|html|head|meta|title|style|body|main|h1|h2|h3|p|b|small|code|pre|form|input|label|button|header|section|a|dl|dt|dd|blockquote|div)( (lang|charset|name|content|id|class|role|aria-labelledby|aria-describedby|aria-label|tabindex|href|method|action|type|value|for|required|autocomplete|min|max|inputmode|maxlength)(="[^"]*")?)*>$`)
	for _, tag := range regexp.MustCompile(`<[^>]*>`).FindAllString(page, -1) {
		if !ours.MatchString(tag) {
			t.Errorf("the page has %q", tag)
		}
	}
	for _, m := range regexp.MustCompile(`(?:href|action)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "/approve/") && m[1] != "/console/requests" && m[1] != "#main" {
			t.Errorf("the page leads to %q", m[1])
		}
	}
	for _, r := range page {
		if r != '\n' && !unicode.IsGraphic(r) {
			t.Errorf("the page has %U", r)
		}
	}
}

func TestEveryLabelHasItsField(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"tea"}`)
	for name, page := range map[string]string{"sign-in": r.browser().get("/approve/" + req.ID).body, "request": r.signedIn("ann", req.ID).get("/approve/" + req.ID).body} {
		ids := map[string]bool{}
		for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			if ids[m[1]] {
				t.Errorf("%s: the id %q is there twice", name, m[1])
			}
			ids[m[1]] = true
		}
		for _, m := range regexp.MustCompile(` (?:for|aria-labelledby|aria-describedby)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			for id := range strings.FieldsSeq(m[1]) {
				if !ids[id] {
					t.Errorf("%s: %q is not there", name, id)
				}
			}
		}
		for _, tag := range regexp.MustCompile(`<input [^>]*>`).FindAllString(page, -1) {
			id := regexp.MustCompile(` id="([^"]*)"`).FindStringSubmatch(tag)
			if !strings.Contains(tag, `type="hidden"`) && (id == nil || !strings.Contains(page, `<label for="`+id[1]+`">`)) {
				t.Errorf("%s: no label for %s", name, tag)
			}
		}
		level := 0
		for _, m := range regexp.MustCompile(`<h([1-6])`).FindAllStringSubmatch(page, -1) {
			next := int(m[1][0] - '0')
			if next > level+1 {
				t.Errorf("%s: a heading of level %d follows one of level %d", name, next, level)
			}
			level = next
		}
	}
}

// TestAllOfTheArgumentsAreThere: whatever they are, the page is whole and not much
// longer than they are.
func TestAllOfTheArgumentsAreThere(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 60) + `"end"` + strings.Repeat("}", 60)
	key := strings.Repeat("k", 100_000)
	for name, c := range map[string]struct{ args, want string }{
		"a long text":       {`{"text":"` + strings.Repeat("x", 200_000) + `end"}`, "xend"},
		"many lines":        {`{"text":"` + strings.Repeat(`\n`, 2000) + `rm -rf"}`, "text, 2006 characters, 2001 lines"},
		"deep":              {`{"d":` + deep + `}`, "end"},
		"a long key, often": {`{"` + key + `":[` + strings.Repeat("1,", 50_000) + `2]}`, "list, 50001 items"},
		"no object":         {`"only text"`, "only text"},
		"nothing":           {`{}`, "The call has no arguments."},
		"an empty key":      {`{"":"empty key","e":"","n":null,"t":true,"l":[],"o":{},"f":-0.10e5}`, "-0.10e5"},
		"starts with lines": {`{"text":"\n\nlate"}`, "<pre>\n\n\nlate</pre>"},
		"quotes inside":     {`{"l":["a\",\"b"]}`, `a\u{22},\u{22}b`},
	} {
		r := newRig(t)
		req := r.ask(c.args)
		page := r.signedIn("ann", req.ID).get("/approve/" + req.ID)
		page.wants(t, name, http.StatusOK)
		if !strings.Contains(page.body, c.want) {
			t.Errorf("%s: %q is not there", name, c.want)
		}
		if len(page.body) > 40_000+8*len(c.args) {
			t.Errorf("%s: %d bytes of arguments make a page of %d", name, len(c.args), len(page.body))
		}
	}
}

// TestALongComparisonStaysShort: what an agent sends cannot make the comparison
// explode, and what is left out is counted.
func TestALongComparisonStaysShort(t *testing.T) {
	r := newRig(t)
	object := func(value string) string {
		var b strings.Builder
		for i := range 9000 {
			fmt.Fprintf(&b, `"k%d":%s,`, i, value)
		}
		return `{"` + strings.Repeat("p", 20_000) + `":1,"in":{` + strings.TrimSuffix(b.String(), ",") + `}}`
	}
	first := r.ask(object("1"))
	r.signedIn("ann", first.ID).answer(first.ID, "approve")
	later(t, first)
	second := r.ask(strings.Replace(object("2"), `p":1`, `p":2`, 1))
	page := r.signedIn("ann", second.ID).get("/approve/" + second.ID)
	page.wants(t, "the page", http.StatusOK, "all arguments")
	if len(page.body) > 3<<20 {
		t.Errorf("the page has %d bytes", len(page.body))
	}
	third := r.ask(strings.Replace(object("1"), strings.Repeat("p", 20_000), "p", 1))
	r.signedIn("ann", third.ID).answer(third.ID, "approve")
	later(t, third)
	fourth := r.ask(strings.Replace(object("2"), strings.Repeat("p", 20_000), "p", 1))
	r.signedIn("ann", fourth.ID).get("/approve/"+fourth.ID).wants(t, "many fields", http.StatusOK, "<h3>in.k0</h3>", "8900 more fields differ")
}

// TestAWiderRightShowsItsLimits instead of the arguments of one call.
func TestAWiderRightShowsItsLimits(t *testing.T) {
	r := newRig(t)
	cs, err := grant.ParseConstraints([]byte(`[{"at":"/item","in":["tea","<b>"]},{"at":"/count","range":[1,3]}]`))
	if err != nil {
		t.Fatal(err)
	}
	wide := func(cs grant.Constraints) grant.Request {
		return r.ask(`{}`, func(a *grant.Ask) { a.Scope, a.Wanted, a.Uses, a.Life = grant.ScopeTime, cs, 5, 30*time.Minute })
	}
	req := wide(cs)
	b := r.signedIn("ann", req.ID)
	b.get("/approve/"+req.ID).wants(t, "the page", http.StatusOK, "What every call must meet", "/item", "range", "&lt;b&gt;", "Approve: until it expires", "Calls it covers, at most 5", `max="30"`)
	b.answer(req.ID, "approve", "uses", "6").wants(t, "more calls", http.StatusBadRequest, "only narrow")
	if a := b.answer(req.ID, "approve", "uses", "2", "minutes", "10"); a.status != http.StatusSeeOther {
		t.Errorf("%d %s", a.status, text(a.body))
	}
	if g, _, err := r.broker.Archive().Grant(t.Context(), r.state(req.ID).Grant); err != nil || g.UsesMax != 2 || g.Expires.Sub(g.NotBefore) != 10*time.Minute {
		t.Errorf("%+v, %v", g, err)
	}
	free := wide(nil)
	r.signedIn("ann", free.ID).get("/approve/"+free.ID).wants(t, "without limits", http.StatusOK, "Nothing limits the arguments")
}

func TestARequestThatIsNotThere(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{}`)
	b := r.signedIn("ann", req.ID)
	none := access.PrefixRequest + strings.Repeat("0", 26)
	b.get("/approve/"+none).wants(t, "looking", http.StatusNotFound, "is not there")
	b.answer(none, "approve").wants(t, "answering", http.StatusNotFound, "is not there")
	b.answer(req.ID, "perhaps").wants(t, "neither", http.StatusBadRequest, "approve or deny")
}
