package console_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/audit"
)

// TestAnEventTellsWhatLedToItAndWhatEndedIt: whom the call was for, the agent, the task,
// the request and the grant it stood on, in this order, each leading to its page; what
// was changed of those, once and in order; and of a call that was cut what cut it.
func TestAnEventTellsWhatLedToItAndWhatEndedIt(t *testing.T) {
	r := newRig(t)
	w := &work{}
	r.console(w)
	req := r.ask(`{"item":"tea"}`)
	r.signedIn("ann", req.ID).answer(req.ID, "approve")
	g := r.state(req.ID).Grant
	if g == "" {
		t.Fatal("approving gave no grant")
	}
	begun := r.clock.now()
	of := func(index uint64, kind, text string) audit.Row {
		row := audit.Row{}
		row.Index, row.Type, row.Text, row.At = index, kind, text, begun
		return row
	}
	call := of(40, "intent", "")
	call.Decision, call.Outcome, call.Status, call.Ended = "dec_1", "permit", "ok", begun.Add(time.Second)
	call.Server, call.Tool, call.Agent, call.Subject, call.Task, call.Grant = "shop", "order", "bot", "kim<b>@example.com", "tsk_1", g
	asked, approved, cut := of(31, "admin", "open "+req.ID), of(33, "admin", "approve "+req.ID+" "+g), of(44, "revocation", "agent bot")
	w.find = func(q audit.Query) []audit.Row {
		switch {
		case q.Decision == "dec_1":
			return []audit.Row{call}
		case q.Text == req.ID:
			return []audit.Row{approved, asked}
		case q.Text == g:
			return []audit.Row{approved}
		case slices.Equal(q.Types, []string{"revocation", "receipt"}) && q.Since.Equal(begun) && q.Until.After(call.Ended):
			return []audit.Row{cut}
		}
		return nil
	}
	b := r.enter()
	a := b.get("/console/evidence/40")
	a.wants(t, "the event", http.StatusOK, "How it came to be judged", "Approvals, changes and revocations around it")
	inOrder(t, a.body, ">Person: ", "kim&lt;b&gt;@example.com</a>", ">Agent: ", `href="/console/agents/bot"`, ">Task: ", "/console/evidence?task=tsk_1",
		">Request: ", `href="/approve/`+req.ID+`"`, ">Grant: ", `href="/console/grants/`+g+`"`, ">Decision: dec_1",
		"/console/evidence/31", "/console/evidence/33", "The story, leaf by leaf")
	if n := strings.Count(a.body, `href="/console/evidence/33"`); n != 1 || strings.Contains(a.body, "/console/evidence/44") {
		t.Errorf("the approval is there %d times, or a revocation that ended nothing of it is", n)
	}
	call.Status = string(audit.StatusRevoked)
	inOrder(t, b.get("/console/evidence/40").body, "/console/evidence/33", "/console/evidence/44")

	call.Grant = "grt_gone" // of another log, or from before the store was put back
	b.get("/console/evidence/40").wants(t, "a grant that is not there", http.StatusOK, "Grant: grt_gone</li>")
	call.Agent, call.Grant = "", ""
	if a := b.get("/console/evidence/40"); a.status != http.StatusOK || strings.Contains(a.body, "How it came to be judged") {
		t.Errorf("what no agent did has a chain: %d", a.status)
	}
}

// inOrder fails unless the words come one after another.
func inOrder(t *testing.T, page string, words ...string) {
	t.Helper()
	rest := page
	for _, w := range words {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			t.Fatalf("%q does not follow in: %s", w, text(page))
		}
		rest = after
	}
}
