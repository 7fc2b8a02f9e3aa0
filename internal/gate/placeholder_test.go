package gate_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"rutile/internal/access"
	"rutile/internal/boundary"
	"rutile/internal/gate"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// rows keeps placeholders in memory.
type rows struct {
	mu   sync.Mutex
	keys map[string][]byte
	of   map[string]boundary.Row
	full bool
}

func (r *rows) SessionKey(_ context.Context, session string, fresh []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys[session] == nil {
		r.keys[session] = fresh
	}
	return r.keys[session], nil
}

func (r *rows) PutPlaceholders(_ context.Context, list []boundary.Row) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full {
		return errors.New("the disk is full")
	}
	for _, x := range list {
		r.of[x.Session+x.Token] = x
	}
	return nil
}

func (r *rows) Placeholders(_ context.Context, session string, tokens []string) (out []boundary.Row, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range tokens {
		if x, ok := r.of[session+t]; ok {
			out = append(out, x)
		}
	}
	return out, nil
}

type plain struct{}

func (plain) Seal(_ context.Context, purpose string, b []byte) ([]byte, error) {
	return append([]byte(purpose+"|"), b...), nil
}

func (plain) Open(_ context.Context, purpose string, b []byte) ([]byte, error) {
	rest, ok := strings.CutPrefix(string(b), purpose+"|")
	if !ok {
		return nil, errors.New("sealed for something else")
	}
	return []byte(rest), nil
}

// masking is a gate that masks personal data and secrets in every answer, in front of
// a server whose tool echo may be given personal data back if it says so.
func masking(t *testing.T, r *rows, restore map[string][]string, more ...policy.Policy) (*gate.Gate, *outcomes) {
	t.Helper()
	state := stateWith(t, nil, append(more, policy.Policy{ID: "m", Cedar: `
@id("m") @outcome("mask") @mask("pii, secret") forbid (principal, action == Mcp::Action::"up/echo", resource) when { context has output };`})...)
	content := registry.Content{
		Agents:  []registry.Agent{{ID: "bot", Owner: "team", State: registry.AgentActive, Expires: now.AddDate(1, 0, 0)}},
		Servers: []registry.Server{{ID: "up", Owner: "team", State: registry.ServerSanctioned, Restore: restore}},
		Tools: []registry.Tool{{Server: "up", Name: "echo", State: registry.ToolApproved, SeenDigest: "sha256:1", PinDigest: "sha256:1", Class: registry.ToolClass{Class: "read"},
			Pinned: []byte(`{"name":"echo","inputSchema":{"type":"object","properties":{"to":{"type":"string","maxLength":60},"text":{"type":"string"}}}}`)}},
	}
	view, err := registry.NewView(content)
	if err != nil {
		t.Fatal(err)
	}
	state.View = view
	b, err := boundary.New(r, plain{}, now.UTC)
	if err != nil {
		t.Fatal(err)
	}
	o := &outcomes{}
	f := fixed{state}
	g, err := gate.New(f, o, f, noGrants{}, noFacts{}, noEffects{}, engine(t), b, noLabels{}, f, now.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return g, o
}

func newRows() *rows { return &rows{keys: map[string][]byte{}, of: map[string]boundary.Row{}} }

const mail = "anna.keller@mail.lyon.fr"

// ask calls echo in a session; the server answers with what answers says of the
// arguments it was sent.
func ask(t *testing.T, g *gate.Gate, session, args string, answers func(sent string) string) (sent, read string, dec access.Decision, err error) {
	t.Helper()
	r := request()
	r.Who.Session = session
	v, perr := rawjson.Parse([]byte(args), rawjson.Limits{})
	if perr != nil {
		t.Fatal(perr)
	}
	r.Arguments = v
	resp, dec, err := g.Do(t.Context(), r, func(_ context.Context, d *gate.Dispatch) (access.Response, error) {
		if sent = args; d.Arguments != nil {
			sent = string(d.Arguments)
		}
		return access.Response{Body: []byte(answers(sent)), Reached: access.ReachYes}, nil
	})
	return sent, string(resp.Body), dec, err
}

// tokenFrom masks the mail address in a session and returns its placeholder.
func tokenFrom(t *testing.T, g *gate.Gate, session string) string {
	t.Helper()
	_, read, dec, err := ask(t, g, session, `{}`, func(string) string { return answer("Write to "+mail+" soon.", mail) })
	found := boundary.Tokens(read)
	if err != nil || !dec.Allowed() || len(found) != 1 || strings.Contains(read, mail) || strings.Count(read, found[0]) != 2 {
		t.Fatalf("%+v, %v: reads %s", dec, err, read)
	}
	return found[0]
}

// The model sees a placeholder, the tool that may have it gets the value, and what it
// echoes is masked to the same placeholder.
func TestEchoedValueMaskedAgain(t *testing.T) {
	g, o := masking(t, newRows(), map[string][]string{"ec*": {"pii"}})
	token := tokenFrom(t, g, "ses_1")
	sent, read, dec, err := ask(t, g, "ses_1", `{"to":"`+token+`","text":"hi"}`, func(sent string) string {
		return answer("sent to " + mail + " as " + strings.ToUpper("it") + " was asked: " + sent)
	})
	if err != nil || !dec.Allowed() {
		t.Fatalf("%+v, %v", dec, err)
	}
	if sent != `{"to":"`+mail+`","text":"hi"}` {
		t.Errorf("the tool got %s", sent)
	}
	if strings.Contains(read, mail) || strings.Count(read, token) != 2 {
		t.Errorf("the agent reads %s", read)
	}
	if got := strings.Join(o.last.Findings, " "); !strings.Contains(got, "placeholder.echoed") {
		t.Errorf("findings %s", got)
	}
	// In a key nothing can be put in its place, and a message before the final one is
	// dropped.
	_, read, dec, _ = ask(t, g, "ses_1", `{"to":"`+token+`"}`, func(string) string {
		return `{"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"` + mail + `":1}}}`
	})
	if dec.Allowed() || strings.Contains(read, mail) {
		t.Errorf("in a key: %+v reads %s", dec, read)
	}
}

// A placeholder of another session, one that was guessed, and one at a place that may
// not have it deny the call; nothing is sent.
func TestPlaceholderIsNeverAGuess(t *testing.T) {
	r := newRows()
	g, _ := masking(t, r, map[string][]string{"echo": {"pii"}})
	mine, theirs := tokenFrom(t, g, "ses_1"), tokenFrom(t, g, "ses_2")
	closed, _ := masking(t, r, nil)
	other, _ := masking(t, r, map[string][]string{"other": {"pii"}, "echo": {"secret"}})
	for name, tt := range map[string]struct {
		g             *gate.Gate
		session, args string
		ok            bool
	}{
		"its own":               {g, "ses_1", `{"to":"` + mine + `"}`, true},
		"escaped":               {g, "ses_1", `{"to":"\u0052` + mine[1:] + `"}`, true},
		"of another session":    {g, "ses_1", `{"to":"` + theirs + `"}`, false},
		"without a session":     {g, "", `{"to":"` + mine + `"}`, false},
		"guessed":               {g, "ses_1", `{"to":"RUTILE_EMAIL_aaaaaaaaaaaaaaaa"}`, false},
		"one of two":            {g, "ses_1", `{"to":"` + mine + `","text":"` + theirs + `"}`, false},
		"in a key":              {g, "ses_1", `{"` + mine + `":1}`, false},
		"where none is given":   {closed, "ses_1", `{"to":"` + mine + `"}`, false},
		"of another label":      {other, "ses_1", `{"to":"` + mine + `"}`, false},
		"too long for the tool": {g, "ses_1", `{"to":"` + mine + mine + mine + `"}`, false},
	} {
		sent, _, dec, err := ask(t, tt.g, tt.session, tt.args, func(string) string { return answer("ok") })
		if ok := err == nil && dec.Allowed() && strings.Contains(sent, mail); ok != tt.ok || !tt.ok && sent != "" {
			t.Errorf("%s: sent %q, %+v, %v", name, sent, dec, err)
		}
		if !tt.ok && err == nil && (dec.Reason == "" || dec.Help == "") {
			t.Errorf("%s: it does not say what to do: %+v", name, dec)
		}
	}
}

// After a restart in mid-session the placeholder stands for the same value.
func TestPlaceholderSurvivesARestart(t *testing.T) {
	r := newRows()
	before, _ := masking(t, r, map[string][]string{"echo": {"pii"}})
	token := tokenFrom(t, before, "ses_1")
	after, _ := masking(t, r, map[string][]string{"echo": {"pii"}})
	if again := tokenFrom(t, after, "ses_1"); again != token {
		t.Errorf("it was %s and is %s", token, again)
	}
	sent, _, dec, err := ask(t, after, "ses_1", `{"to":"`+token+`"}`, func(string) string { return answer("ok") })
	if err != nil || !dec.Allowed() || !strings.Contains(sent, mail) {
		t.Errorf("sent %q, %+v, %v", sent, dec, err)
	}
}

// Where a placeholder cannot be kept the answer is withheld, and policies see the
// label of what a placeholder stands for.
func TestPlaceholdersAreKeptBeforeTheyAreShown(t *testing.T) {
	r := newRows()
	g, _ := masking(t, r, map[string][]string{"echo": {"pii"}}, policy.Policy{ID: "n", Cedar: `
@id("no-pii-out") forbid (principal, action == Mcp::Action::"up/echo", resource) when { context.facts.args_labels.contains("pii") };`})
	token := tokenFrom(t, g, "ses_1")
	if sent, _, dec, err := ask(t, g, "ses_1", `{"to":"`+token+`"}`, func(string) string { return answer("ok") }); err != nil || dec.Allowed() || sent != "" || dec.Forbids[0] != "no-pii-out" {
		t.Errorf("sent %q, %+v, %v", sent, dec, err)
	}
	r.full = true
	_, read, dec, err := ask(t, g, "ses_1", `{}`, func(string) string { return answer("Write to bert.maas@mail.lyon.fr soon.") })
	if err != nil || dec.Allowed() || strings.Contains(read, "bert") {
		t.Errorf("%+v, %v reads %s", dec, err, read)
	}
}
