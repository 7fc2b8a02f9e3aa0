package inspect_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"rutile/internal/inspect"
	"rutile/internal/rawjson"
)

const prose = "The quarterly report shows that the store in Lyon sold 412 units more than the year before, while the one in Ghent " +
	"closed for two weeks of repairs. Anna asked whether the users of the portal could see the figures before the meeting on " +
	"Tuesday; nobody objected, so the table was updated and the old file archived under reports/2026/q3.csv.\n"

// The cost of one definition as servers write them, and of a result of 2 KB.
func BenchmarkInspect(b *testing.B) {
	e := engine(b)
	def := []byte(`{"name":"create_issue","description":"Creates an issue in a repository. The title must not be empty; labels and assignees are optional. Use list_labels first to see which labels there are.","inputSchema":{"type":"object","properties":{"owner":{"type":"string","description":"Account the repository belongs to"},"repo":{"type":"string","description":"Name of the repository"},"title":{"type":"string","description":"Title of the issue"},"labels":{"type":"array","items":{"type":"string"},"description":"Labels to set"}},"required":["owner","repo","title"]}}`)
	b.Run("definition", func(b *testing.B) {
		v, err := rawjson.Parse(def, rawjson.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(def)))
		for b.Loop() {
			e.Definition(v)
		}
	})
	for name, size := range map[string]int{"result2KB": 2 << 10, "result1MiB": 1 << 20} {
		text := []byte(strings.Repeat(prose, size/len(prose)+1)[:size])
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				if r := e.Text(inspect.Result, text); r.Tier != inspect.Clean {
					b.Fatalf("plain prose: %+v", r.Findings)
				}
			}
		})
	}
}

// The cost of one answer as it passes the gateway: a short one and a megabyte of prose,
// and rows, whose columns are read together too.
func BenchmarkStream(b *testing.B) {
	e := engine(b)
	answer := func(b *testing.B, text string) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			v, err := rawjson.Parse([]byte(text), rawjson.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			if seen := e.Stream().Inspect(v); seen.Tier != inspect.Clean {
				b.Fatalf("plain prose: %+v", seen)
			}
		}
	}
	for _, size := range []int{2 << 10, 1 << 20} {
		text := `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":` + strconv.Quote(strings.Repeat(prose, size/len(prose)+1)[:size]) + `}]}}`
		b.Run(strconv.Itoa(size), func(b *testing.B) { answer(b, text) })
	}
	rows := strings.Builder{}
	for i := 0; rows.Len() < 2<<10; i++ {
		fmt.Fprintf(&rows, `{"id":%d,"title":"Figures of week %d","author":"Anna Holt","body":"The numbers of the store in Ghent are on the page; nobody objected."},`, i, i)
	}
	text := `{"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"rows":[` + strings.TrimSuffix(rows.String(), ",") + `]}}}`
	b.Run("rows", func(b *testing.B) { answer(b, text) })
}

// The cost of looking for secrets and personal data in a result of 2 KB.
func BenchmarkSensitive(b *testing.B) {
	e := engine(b)
	text := []byte(strings.Repeat(prose, (2<<10)/len(prose)+1)[:2<<10])
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if found := e.Sensitive(text); len(found) > 0 {
			b.Fatalf("plain prose: %v", found)
		}
	}
}
