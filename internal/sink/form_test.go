package sink_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/sink"
)

var update = flag.Bool("update", false, "write the golden files")

// samples is one event of each kind and outcome.
func samples() []audit.Told {
	at := time.Date(2026, 11, 27, 12, 0, 0, 123456000, time.UTC)
	n := uint64(0)
	told := func(typ string, row audit.Row) audit.Told {
		n++
		row.Origin, row.Index, row.LeafID, row.Type, row.At, row.Intent = "example.com/rutile/default/n1/1", n, "01JDNSAMPLE000000000000000"+string(rune('0'+n)), typ, at.Add(time.Duration(n)*time.Second), -1
		return audit.Told{Row: row, Leaf: []byte(`{"type":"` + typ + `"}`), Hash: [32]byte{byte(n)}}
	}
	who := audit.Row{Agent: "release-bot", Subject: "ann", Session: "ses_1", Task: "tsk_1", Server: "github", Method: "tools/call", Tool: "create_release", TraceID: "0af7651916cd43dd8448eb211c80319c"}
	call := func(outcome string, class access.Class, policies ...string) *audit.Call {
		row := who
		row.Decision, row.Outcome, row.Policies, row.At = "dec_1", outcome, policies, at
		return &audit.Call{Row: row, Issuer: "https://idp.example.com", Kind: access.KindTool, Proto: "mcp", Version: "2026-07-28", Class: class, Tier: 2, Grant: "grt_1"}
	}
	ok := told("outcome", who)
	ok.Call, ok.End = call("permit", "", "release-window"), &audit.End{Status: audit.StatusOK, Reached: "yes", Took: 12345 * time.Microsecond, In: 100, Out: 2000, Masks: []string{"no-mail"}}
	held := told("outcome", who)
	held.Call, held.End = call("permit", "", "release-window"), &audit.End{Status: audit.StatusWithheld, Reached: "yes", Took: time.Millisecond, Findings: []string{"result.orders"}, Withheld: "quarantine", Forbids: []string{"no-orders"}}
	denied := told("verdict", who)
	denied.Call = call("deny", access.ClassPolicy, "freeze")
	asked := told("verdict", who)
	asked.Call = call("require_approval", access.ClassApproval, "four-eyes")
	row := who
	row.Method, row.Tool = "tools/list", ""
	list := told("verdict", row)
	list.Call = call("permit", "")
	list.Call.Method, list.Call.Kind, list.Call.Tier = "tools/list", "", 0
	change := told("admin", audit.Row{Actor: "user:ann", Object: "github", Decision: "chg_1"})
	change.Change = &audit.Change{Verb: "approve", Kind: "Server", Reason: "reviewed | with = signs"}
	loss := told("loss", audit.Row{})
	loss.Loss = &audit.Loss{Stream: "metrics", Count: 3, Why: "the disk was full"}
	erased := told("outcome", audit.Row{Server: "github", Method: "tools/call", Tool: "create_release"})
	erased.Call, erased.End = call("permit", ""), &audit.End{Status: audit.StatusUnknown, Reached: "unknown"}
	erased.Call.Row.Agent, erased.Call.Row.Subject, erased.Call.Issuer = "", "", ""
	return []audit.Told{ok, held, denied, asked, list, change, loss, erased, told("log.open", audit.Row{})}
}

// TestFormsAreAsWritten compares every form with what was looked at once.
func TestFormsAreAsWritten(t *testing.T) {
	for _, form := range sink.Forms() {
		t.Run(form, func(t *testing.T) {
			body, n, err := sink.Encode(form, 1<<20, samples())
			if err != nil || n != len(samples()) {
				t.Fatal(n, err)
			}
			file := filepath.Join("testdata", form+".golden")
			got := readable(t, form, body)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-golden +got):\n%s", diff)
			}
		})
	}
}

// readable is a body as a person reads it.
func readable(t *testing.T, form string, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	switch form {
	case sink.FormCEF:
		return body
	case sink.FormOTLP:
		var req collector.ExportLogsServiceRequest
		if err := proto.Unmarshal(body, &req); err != nil {
			t.Fatal(err)
		}
		var err error
		if body, err = protojson.Marshal(&req); err != nil {
			t.Fatal(err)
		}
	}
	for _, doc := range bytes.SplitAfter(body, []byte("}\n")) {
		if len(doc) == 0 {
			continue
		}
		if err := json.Indent(&out, bytes.TrimSpace(doc), "", " "); err != nil {
			t.Fatal(err)
		}
		out.WriteByte('\n')
	}
	return out.Bytes()
}

// TestOCSFHasWhatItsClassesRequire: attributes the schema says are required, and
// constraints of the objects used.
func TestOCSFHasWhatItsClassesRequire(t *testing.T) {
	body, _, err := sink.Encode(sink.FormOCSF, 1<<20, samples())
	if err != nil {
		t.Fatal(err)
	}
	required := map[float64][]string{
		6003: {"actor", "api.operation", "src_endpoint.svc_name", "action_id", "disposition_id"},
		3004: {"entity.name", "actor.user"},
		6002: {"app.name", "app.vendor_name"},
	}
	seen := map[float64]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(body)), "\n") {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		class := e["class_uid"].(float64)
		seen[class] = true
		for _, path := range append(required[class], "activity_id", "category_uid", "severity_id", "time", "metadata.version", "metadata.product.name", "metadata.uid") {
			var at any = e
			for _, key := range strings.Split(path, ".") {
				m, _ := at.(map[string]any)
				at = m[key]
			}
			if at == nil {
				t.Errorf("class %v has no %s: %s", class, path, line)
			}
		}
		if e["type_uid"].(float64) != class*100+e["activity_id"].(float64) || e["category_uid"].(float64) != float64(int(class)/1000) {
			t.Errorf("type and category do not follow from the class: %s", line)
		}
		if e["activity_id"].(float64) == 99 && e["activity_name"] == "" {
			t.Errorf("another activity has no name: %s", line)
		}
		if a, ok := e["ai_agent"].(map[string]any); ok && a["uid"] == "" {
			t.Errorf("an agent has no id: %s", line)
		}
	}
	if len(seen) != 3 {
		t.Errorf("classes: %v", seen)
	}
}

// TestABatchHasAnEnd: it holds at least one event and no more than fit.
func TestABatchHasAnEnd(t *testing.T) {
	list := samples()
	for _, form := range sink.Forms() {
		for _, size := range []int{1, 4000, 1 << 20} {
			body, n, err := sink.Encode(form, size, list)
			if err != nil || n < 1 || n > len(list) || n > 1 && len(body) > size+200 || size == 1 && n != 1 {
				t.Errorf("%s in %d bytes: %d events, %d bytes, %v", form, size, n, len(body), err)
			}
		}
	}
}

// TestAFileIsPutAsideWhole: nothing is lost where one ends and the next begins.
func TestAFileIsPutAsideWhole(t *testing.T) {
	dir := t.TempDir()
	n := 0
	cfg := &sink.Config{Dir: dir, Now: func() time.Time { n++; return time.Unix(int64(n), 0) }}
	if err := sink.WriteFiles(cfg, sink.Sink{ID: "a", Form: sink.FormLeaf}, 8, "one", "two", "three", "4"); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "a*"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range order(files) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	if all.String() != "one\ntwo\nthree\n4\n" || len(files) != 2 {
		t.Errorf("%d files hold %q", len(files), all.String())
	}
}

// order puts what was put aside before what is written.
func order(files []string) []string {
	var aside, now []string
	for _, f := range files {
		if filepath.Base(f) == "a.jsonl" {
			now = append(now, f)
		} else {
			aside = append(aside, f)
		}
	}
	return append(aside, now...)
}
