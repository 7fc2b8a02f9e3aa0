package api_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/audit"
	"rutile/internal/compliance"
)

// countedEvidence counts so that no two queries have the same count, and remembers them.
type countedEvidence struct {
	fakeEvidence
	asked []audit.Query
}

func (e *countedEvidence) Count(_ context.Context, q audit.Query, _ int) (int, error) {
	e.asked = append(e.asked, q)
	return len(e.asked), nil
}

// Every figure of every framework is the count of the query it names: both its address
// and its command, read as the API reads them, ask for what was counted.
func TestEveryFigureIsTheCountOfItsQuery(t *testing.T) {
	since, until := time.Date(2026, 1, 1, 0, 0, 0, 123456789, time.UTC), time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	for _, id := range compliance.Frameworks() {
		e := &countedEvidence{}
		r, err := compliance.New(t.Context(), e, &compliance.Present{}, id, since, until)
		if err != nil {
			t.Fatal(err)
		}
		seen, figures := map[int]bool{}, 0
		for _, c := range r.Controls {
			if (c.State == compliance.Not) != (len(c.Measures) == 0) || (c.State == compliance.Covered) != (c.Gap == "") {
				t.Errorf("%s %s is %q with %d measures and the gap %q", id, c.ID, c.State, len(c.Measures), c.Gap)
			}
			for _, m := range c.Measures {
				for _, f := range m.Figures {
					if f.Query.Of != compliance.Events {
						continue // of what there is now
					}
					figures++
					seen[f.Count] = true
					_, query, _ := strings.Cut(f.Console, "?")
					shown, err := url.ParseQuery(query)
					if err != nil {
						t.Fatal(err)
					}
					for form, v := range map[string]url.Values{"address": shown, "command": flags(t, f.Command)} {
						got, err := api.ParseSearch(v, until)
						if err != nil {
							t.Fatal(err)
						}
						if diff := cmp.Diff(e.asked[f.Count-1], got); diff != "" {
							t.Errorf("%s %s: the %s of %q asks for something else (-counted +asked):\n%s", id, c.ID, form, f.Name, diff)
						}
					}
				}
			}
		}
		if figures == 0 || len(seen) != len(e.asked) {
			t.Errorf("%s: %d figures show %d of %d counts", id, figures, len(seen), len(e.asked))
		}
	}
}

// flags reads the flags of a command as a shell would pass them.
func flags(t *testing.T, command string) url.Values {
	t.Helper()
	rest, ok := strings.CutPrefix(command, "rutile audit search --count ")
	if !ok {
		t.Fatalf("%q does not count", command)
	}
	v := url.Values{}
	for rest != "" {
		var name, value string
		if name, rest, ok = strings.Cut(strings.TrimPrefix(rest, "--"), " "); !ok {
			t.Fatalf("%q has no value", name)
		}
		if strings.HasPrefix(rest, "'") {
			value, rest, _ = strings.Cut(rest[1:], "'")
			rest = strings.TrimPrefix(rest, " ")
		} else {
			value, rest, _ = strings.Cut(rest, " ")
		}
		v.Set(name, value)
	}
	return v
}

func TestAReportNeedsAFrameworkAndAPeriod(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		id    string
		since time.Time
	}{"another framework": {"pci", now.Add(-time.Hour)}, "no time in it": {"owasp-mcp", now}} {
		if _, err := compliance.New(t.Context(), &fakeEvidence{}, &compliance.Present{}, tt.id, tt.since, now); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The file loads nothing and holds no script, and what is in it cannot break out.
func TestAReportIsOneFileThatLoadsNothing(t *testing.T) {
	r, err := compliance.New(t.Context(), &countedEvidence{}, &compliance.Present{}, "owasp-mcp", time.Unix(0, 0), time.Unix(1000, 0))
	if err != nil {
		t.Fatal(err)
	}
	r.Checkpoint = `</pre><script src="https://evil.example/x.js"></script>`
	var b strings.Builder
	if err := compliance.WriteHTML(&b, &r, "http://127.0.0.1:7434/"); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"<script", "<link", "<img", "src=\"", "url(", "@import", "ZgotmplZ"} {
		if strings.Contains(page, bad) {
			t.Errorf("the report holds %s", bad)
		}
	}
	for _, want := range []string{"@media print", "default-src 'none'", "sha256-", "MCP10", `href="http://127.0.0.1:7434/console/evidence?`, "not by Rutile", "partly covered"} {
		if !strings.Contains(strings.ToLower(page), strings.ToLower(want)) {
			t.Errorf("the report does not hold %s", want)
		}
	}
}
