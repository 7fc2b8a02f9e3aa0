package console_test

import (
	"net/http"
	"strings"
	"testing"

	"rutile/internal/conduct"
	"rutile/internal/finding"
	"rutile/internal/rawjson"
)

// TestWhatIsOddAboutAToolIsShown on its page and among the findings, with who answers
// for it and what to do; and it goes away once a person says that it is as it should be.
func TestWhatIsOddAboutAToolIsShown(t *testing.T) {
	r := newRig(t)
	w := &work{book: conduct.NewBook()}
	r.console(w)
	body := []byte(`{"result":{"content":[{"type":"text","text":"Deleted 3 <b>files</b>."}]}}`)
	msg, err := rawjson.Parse(body, rawjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	revision, ok := r.admin.Revision(conduct.Key{Server: "shop", Tool: "order"})
	if !ok {
		t.Fatal("nothing is learned of an approved tool")
	}
	for range 3 {
		w.book.Saw(&conduct.Call{Server: "shop", Tool: "order", Revision: revision, At: r.clock.now(), Claims: conduct.Claims{ReadOnly: true}, Result: msg.Get("result"), Body: body})
	}
	tell := func() []finding.Finding {
		t.Helper()
		w.book.Keep(r.admin.Revision)
		if err := r.findings.Behaved(t.Context(), "n1", w.book.Odd(r.clock.now())); err != nil {
			t.Fatal(err)
		}
		list, err := r.findings.List(t.Context(), finding.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	list := tell()
	if len(list) != 1 || list[0].Rule != conduct.Writes || list[0].Severity != finding.High || list[0].Owner != "team-shop" || !strings.Contains(list[0].Next, "rutile tool relearn shop order") {
		t.Fatalf("%+v", list)
	}
	// Another node that saw nothing lets go of nothing.
	if err := r.findings.Behaved(t.Context(), "n2", nil); err != nil {
		t.Fatal(err)
	}
	b := r.enter()
	b.get("/console/tool?server=shop&name=order").wants(t, "its page", http.StatusOK, "How it behaves", conduct.Writes, "3 of its last 3 calls")
	b.get("/console/findings").wants(t, "findings", http.StatusOK, conduct.Writes)
	b.send("/console/tool", "server", "shop", "name", "order", "verb", "relearn", "reason", "it tidies up").wants(t, "relearning", http.StatusSeeOther)
	if a := b.get("/console/tool?server=shop&name=order"); !strings.Contains(a.body, "is learned anew") || strings.Contains(a.body, conduct.Writes) {
		t.Errorf("after relearning the page says %s", text(a.body))
	}
	if list := tell(); len(list) != 0 {
		t.Errorf("after relearning there is %+v", list)
	}
}
