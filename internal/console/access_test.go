package console_test

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"rutile/internal/privilege"
)

// TestWhoMayUseAServer: who may, by what and for whom, each with its link, and what was
// used; what agents and servers are called stays text.
func TestWhoMayUseAServer(t *testing.T) {
	r := newRig(t)
	w := &work{holders: []privilege.Holder{
		{Agent: "bot", Reach: privilege.Reach{Action: "shop/<b>order", Tier: 2, Outcome: "require_approval", Calls: 41}, Basis: []privilege.Basis{
			{Statement: "allow.bot", Kind: privilege.BasisList, ID: "bot"}, {Statement: "eyes.1", Kind: privilege.BasisPolicy, ID: "eyes"},
			{Statement: "baseline.x", Kind: privilege.BasisBuiltin}}, Grants: []privilege.HeldGrant{{ID: "grt_7", For: "ann <i>"}}},
		{Agent: "bot", Reach: privilege.Reach{Action: "shop/refund", Outcome: "permit"}},
	}}
	r.console(w)
	b := r.enter()
	b.get("/console/servers/shop").wants(t, "the server", http.StatusOK, `href="/console/servers/shop/access"`)
	page := b.get("/console/servers/shop/access")
	page.wants(t, "its access", http.StatusOK, "shop/&lt;b&gt;order", `href="/console/agents/bot"`, `href="/console/policies/eyes"`, "baseline.x", `href="/console/grants/grt_7"`, "for ann &lt;i&gt;", ">41<", "unused", "rutile server access shop")
	if strings.Contains(page.body, "<b>order") || strings.Contains(page.body, "ann <i>") {
		t.Error("a name is more than text")
	}
	b.get("/console/servers/none/access").wants(t, "no server", http.StatusNotFound)
	b.get("/console/agents/bot").wants(t, "the agent", http.StatusOK, `href="/console/agents/bot/access"`)
}

// TestAViewerIsNotLedToAccess: who may use what is for those who may see how rights are
// used.
func TestAViewerIsNotLedToAccess(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	viewer := r.browser()
	if a := viewer.do("POST", "/approve/sign-in", url.Values{"request": {"console/live"}, "token": {r.token("vic").Token}}); a.status != http.StatusSeeOther {
		t.Fatalf("a viewer cannot sign in: %d", a.status)
	}
	for _, p := range []string{"/console/servers/shop", "/console/agents/bot"} {
		a := viewer.get(p)
		a.wants(t, p, http.StatusOK)
		if strings.Contains(a.body, p+"/access") {
			t.Errorf("%s leads a viewer to its access", p)
		}
		viewer.get(p+"/access").wants(t, p+"/access", http.StatusForbidden)
	}
}

// TestThePictureOfAnAgent: it is well-formed, styled by classes alone, says in words what
// it shows, and is no longer than a page however much there is.
func TestThePictureOfAnAgent(t *testing.T) {
	r := newRig(t)
	w := &work{}
	for s := range 40 {
		for n := range 30 {
			w.holders = append(w.holders, privilege.Holder{Agent: "bot", Reach: privilege.Reach{Action: fmt.Sprintf("s%02d/<t>&%02d", s, n), Outcome: "permit", Calls: max(0, 3-n)}})
		}
	}
	r.console(w)
	page := r.enter().get("/console/agents/bot/access")
	page.wants(t, "the page", http.StatusOK, `role="img"`, `aria-labelledby="reach-title reach-text"`, "and 24 more", "and 28 more servers", `class="unused"`, `class="used"`)
	svg := page.body[strings.Index(page.body, "<svg"):]
	svg = svg[:strings.Index(svg, "</svg>")+len("</svg>")]
	if strings.Contains(svg, "style=") || strings.Contains(svg, "<script") || strings.Contains(svg, "<t>") || len(svg) > 64<<10 {
		t.Errorf("%d bytes: %.300s", len(svg), svg)
	}
	d := xml.NewDecoder(strings.NewReader(svg))
	var left, top, width, height int
	if _, err := fmt.Sscanf(svg[strings.Index(svg, "viewBox="):], `viewBox="%d %d %d %d"`, &left, &top, &width, &height); err != nil {
		t.Fatal(err)
	}
	boxes := 0
	for {
		tok, err := d.Token()
		if tok == nil {
			if err.Error() != "EOF" {
				t.Error(err)
			}
			break
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "rect" {
			boxes++
			n := map[string]int{}
			for _, a := range e.Attr {
				if n[a.Name.Local], err = strconv.Atoi(a.Value); err != nil {
					t.Fatal(err)
				}
			}
			if n["x"] <= left || n["y"] <= top || n["x"]+n["width"] >= left+width || n["y"]+n["height"] >= top+height {
				t.Errorf("a box is not within the picture: %v", n)
			}
		}
	}
	if want := 1 + 12*(1+6+1) + 1; boxes != want {
		t.Errorf("%d boxes, not %d", boxes, want)
	}
}
