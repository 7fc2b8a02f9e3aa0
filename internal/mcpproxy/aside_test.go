package mcpproxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rutile/internal/rawjson"
)

// said hands a message to what keeps it.
func said(t *testing.T, a *aside, msg string) {
	t.Helper()
	v, err := rawjson.Parse([]byte(msg), rawjson.Limits{Bytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.note([]byte(msg), v); err != nil {
		t.Fatal(err)
	}
}

func updateOf(uri string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q}}`, uri)
}

func taskAt(id, status string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":%q,"status":%q}}`, id, status)
}

// What a process says to a listen is kept once for each resource, list and task,
// of a task the newest, in the order it first came, and nothing that nobody asked
// for.
func TestAsideKeepsAChangeOnce(t *testing.T) {
	a := newAside(nil, nil)
	a.wants[change{resourceUpdated, "a"}] = true
	a.wants[change{taskChanged, "t"}] = true
	ack := `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}`
	list := `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
	said(t, a, ack)
	for range 1000 {
		said(t, a, updateOf("a"))
		said(t, a, taskAt("t", "working"))
		said(t, a, list)
		said(t, a, updateOf("b"))
		said(t, a, taskAt("u", "working"))
		said(t, a, `{"jsonrpc":"2.0","method":"notifications/message","params":{}}`)
		said(t, a, taskAt("t", "completed"))
	}
	drained := func() (got []string) {
		for {
			u, _, err := a.next()
			if err != nil {
				t.Fatal(err)
			}
			if u == nil {
				return got
			}
			got = append(got, string(u.msg))
		}
	}
	if got, want := drained(), []string{ack, updateOf("a"), taskAt("t", "completed"), list}; !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	said(t, a, updateOf("a")) // it changed after it was told
	if got := drained(); !slices.Equal(got, []string{updateOf("a")}) {
		t.Errorf("kept %q", got)
	}
	if a.bytes != 0 || len(a.of) != 0 {
		t.Errorf("%d bytes and %d changes are kept of nothing", a.bytes, len(a.of))
	}
}

// One message of any size is kept; several over the bound end the listen, whose
// client may listen again.
func TestAsideIsBounded(t *testing.T) {
	a := newAside(nil, nil)
	large := strings.Repeat("x", asideBytes)
	for _, id := range []string{"one", "two"} {
		a.wants[change{taskChanged, id}] = true
	}
	said(t, a, taskAt("one", large))
	said(t, a, taskAt("one", large+"x"))
	if u, _, err := a.next(); u == nil || err != nil {
		t.Fatalf("a large message is not kept: %v", err)
	}
	said(t, a, taskAt("one", large))
	said(t, a, taskAt("two", "working"))
	said(t, a, taskAt("two", "completed"))
	if u, _, err := a.next(); u != nil || !errors.Is(err, errUnheard) || len(a.queue)+len(a.of) != 0 {
		t.Errorf("over the bound, kept is %v, %v", u, err)
	}
}
