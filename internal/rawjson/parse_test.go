package rawjson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"rutile/internal/rawjson"
)

func TestStrictParsingRejects(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		want      string // rule, pointer, offset
	}{
		{"empty", "", "syntax  0"},
		{"only space", " \n", "syntax  2"},
		{"trailing data", `{} {}`, "syntax  3"},
		{"trailing comma in array", `[1,]`, "syntax /1 3"},
		{"trailing comma in object", `{"a":1,}`, "syntax  7"},
		{"leading comma", `[,1]`, "syntax /0 1"},
		{"missing colon", `{"a" 1}`, "syntax  5"},
		{"missing value", `{"a":}`, "syntax /a 5"},
		{"unquoted key", `{a:1}`, "syntax  1"},
		{"single quotes", `{'a':1}`, "syntax  1"},
		{"comment", `[1/**/]`, "syntax  2"},
		{"wrong bracket", `{"a":[1}}`, "syntax /a 7"},
		{"unclosed array", `[1`, "syntax  2"},
		{"unclosed object", `{"a":{"b":1`, "syntax /a 11"},
		{"unclosed string", `["abcdefgh`, "syntax /0 10"},
		{"unclosed escape", `["\`, "syntax /0 2"},
		{"unclosed unicode escape", `["\u12`, "syntax /0 2"},
		{"nul byte after value", "1\x00", "syntax  1"},
		{"nul byte", "\x00", "syntax  0"},
		{"wrong literal", `[tru]`, "syntax /0 4"},
		{"upper literal", `[True]`, "syntax /0 1"},
		{"long literal", `[nulls]`, "syntax  5"},
		{"NaN", `[NaN]`, "syntax /0 1"},
		{"Infinity", `[-Infinity]`, "syntax /0 2"},
		{"leading zero", `{"n":[01]}`, "syntax /n/0 7"},
		{"negative leading zero", `-01`, "syntax  2"},
		{"plus", `+1`, "syntax  0"},
		{"leading dot", `.5`, "syntax  0"},
		{"trailing dot", `1.`, "syntax  2"},
		{"bare minus", `-`, "syntax  1"},
		{"bare exponent", `1e`, "syntax  2"},
		{"signed bare exponent", `1e+`, "syntax  3"},
		{"hexadecimal", `0x10`, "syntax  1"},
		{"bad escape", `"\x41"`, "syntax  1"},
		{"bad hex digit", `"\u00g0"`, "syntax  1"},
		{"control character", "\"a\nb\"", "syntax  2"},
		{"control character after a block", "\"01234567\x1f\"", "syntax  9"},
		{"form feed as space", "\f1", "syntax  0"},
		{"no-break space", "\u00a01", "syntax  0"},
		{"byte order mark", "\ufeff{}", "encoding  0"},
		{"UTF-16 byte order mark", "\xff\xfe{\x00}\x00", "encoding  0"},
		{"invalid UTF-8", "{\"k\":\"0123456789\xff\"}", "encoding /k 16"},
		{"overlong UTF-8", "\"\xc0\xaf\"", "encoding  1"},
		{"surrogate in UTF-8", "\"\xed\xa0\x80\"", "encoding  1"},
		{"beyond Unicode", "\"\xf4\x90\x80\x80\"", "encoding  1"},
		{"cut UTF-8", "\"\xe2\x82", "encoding  1"},
		{"invalid UTF-8 in a key", "{\"\xff\":1}", "encoding  2"},
		{"lone high surrogate", `"\ud800"`, "encoding  1"},
		{"lone low surrogate", `"a\udc00"`, "encoding  2"},
		{"two high surrogates", `"\ud800\ud800"`, "encoding  1"},
		{"reversed surrogates", `"\udc00\ud800"`, "encoding  1"},
		{"high surrogate before text", `"\uD800abcdefgh"`, "encoding  1"},
		{"lone surrogate in a key", `{"\ud800":1}`, "encoding  2"},
		{"duplicate", `{"params":{"name":1,"x":2,"name":3}}`, "duplicate /params/name 26"},
		{"duplicate by escape", `{"name":1,"n\u0061me":2}`, "duplicate /name 10"},
		{"duplicate of an escape", `{"\u006eame":1,"name":2}`, "duplicate /name 15"},
		{"duplicate by surrogate escapes", `{"😀":1,"\ud83d\ude00":2}`, "duplicate /😀 10"},
		{"duplicate by case of the escape", `{"\u00e9":1,"\u00E9":2}`, "duplicate /é 12"},
		{"duplicate empty key", `{"":1,"":2}`, "duplicate / 6"},
		{"duplicate in an array", `[0,{"a":1,"a":1}]`, "duplicate /1/a 10"},
		{"pointer escapes", `{"a/b":{"m~n":{"x":1,"x":2}}}`, "duplicate /a~1b/m~0n/x 21"},
		{"pointer of nested arrays", `{"a":[[],[1,[2,{"b":x}]]]}`, "syntax /a/1/1/1/b 20"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root, err := rawjson.Parse([]byte(tt.src), rawjson.Limits{})
			var e *rawjson.Error
			if !errors.As(err, &e) {
				t.Fatalf("error = %v, want *Error", err)
			}
			if got := fmt.Sprintf("%s %s %d", e.Rule, e.Pointer, e.Offset); got != tt.want {
				t.Errorf("error = %q, want %q", got, tt.want)
			}
			if root.Exists() {
				t.Error("a rejected document has a root")
			}
		})
	}
}

func TestLimitsAreInclusive(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	full := func(n int) string { return strings.Repeat(`{"a":[`, n) + strings.Repeat("]}", n) }
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":%d`, i, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	for _, tt := range []struct {
		name, src string
		lim       rawjson.Limits
		rule      rawjson.Rule
		pointer   string
		offset    int
	}{
		{"default depth", nested(64), rawjson.Limits{}, "", "", 0},
		{"over default depth", nested(65), rawjson.Limits{}, rawjson.RuleDepth, strings.Repeat("/0", 64), 64},
		{"mixed depth", full(2), rawjson.Limits{Depth: 4}, "", "", 0},
		{"over mixed depth", full(2), rawjson.Limits{Depth: 3}, rawjson.RuleDepth, "/a/0/a", 11},
		{"siblings do not add up", `[[],[],[[]]]`, rawjson.Limits{Depth: 3}, "", "", 0},
		{"deep on request", nested(100_000), rawjson.Limits{Depth: 100_000}, "", "", 0},
		{"default members", members(10_000), rawjson.Limits{}, "", "", 0},
		{"over default members", members(10_001), rawjson.Limits{}, rawjson.RuleMembers, "", 127781},
		{"members are counted per object", `{"a":{"b":1,"c":2},"d":3}`, rawjson.Limits{Members: 2}, "", "", 0},
		{"over members", `[{"a":1,"b":2,"c":3}]`, rawjson.Limits{Members: 2}, rawjson.RuleMembers, "/0", 14},
		{"many items", "[0" + strings.Repeat(",0", 20_000) + "]", rawjson.Limits{}, "", "", 0},
		{"four million values", "[" + strings.Repeat("0,", 4<<20-2) + "0]", rawjson.Limits{Bytes: 9 << 20}, "", "", 0},
		{"over four million values", "[0" + strings.Repeat(",0", 4<<20) + "]", rawjson.Limits{Bytes: 9 << 20}, rawjson.RuleTooLarge, "", 2 * (4 << 20)},
		{"bytes", `"12345678"`, rawjson.Limits{Bytes: 10}, "", "", 0},
		{"over bytes", `"12345678" `, rawjson.Limits{Bytes: 10}, rawjson.RuleTooLarge, "", 10},
		{"default bytes", `"` + strings.Repeat("a", 4<<20-2) + `"`, rawjson.Limits{}, "", "", 0},
		{"over default bytes", `"` + strings.Repeat("a", 4<<20-1) + `"`, rawjson.Limits{}, rawjson.RuleTooLarge, "", 4 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := rawjson.Parse([]byte(tt.src), tt.lim)
			if tt.rule == "" {
				if err != nil {
					t.Fatalf("error = %v, want none", err)
				}
				return
			}
			want := &rawjson.Error{Rule: tt.rule, Pointer: tt.pointer, Offset: tt.offset}
			var e *rawjson.Error
			if !errors.As(err, &e) {
				t.Fatalf("error = %v, want *Error", err)
			}
			if diff := cmp.Diff(want, e); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorNamesRulePlaceAndNoContent(t *testing.T) {
	long := strings.Repeat("é", 40) // 80 bytes
	for src, want := range map[string]string{
		`{"params":{"a":"secret","name":1,"name":2}}`: "duplicate key at /params/name (byte 33)",
		`["secret" 1]`:                      "invalid JSON (byte 10)",
		`{"k":"secret\ud800"}`:              "invalid encoding at /k (byte 12)",
		`{"a\u001b[31m":1,"a\u001b[31m":2}`: `duplicate key at "/a\x1b[31m" (byte 17)`,
		`{"` + long + `":x}`:                "invalid JSON at /" + long[:64] + "… (byte 84)",
		strings.Repeat("[", 65):             "nested too deep at " + strings.Repeat("/0", 64) + " (byte 64)",
	} {
		err := rawjson.Validate([]byte(src))
		if err == nil || err.Error() != want {
			t.Errorf("%s: error = %v, want %s", src, err, want)
		}
	}
}

// Many equal, nearly equal and escaped keys at any size of object: the table
// and the pairwise comparison must agree.
func TestDuplicateKeysAreFoundAtAnySize(t *testing.T) {
	for _, n := range []int{2, 3, 15, 16, 17, 18, 100, 5000} {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf("%dx%d", i%7, i)
		}
		doc := func(keys []string) []byte {
			return []byte(`{"` + strings.Join(keys, `":0,"`) + `":0}`)
		}
		if err := rawjson.Validate(doc(keys)); err != nil {
			t.Fatalf("%d different keys: %v", n, err)
		}
		for _, at := range []int{1, n / 2, n - 1} {
			for _, spell := range []string{keys[0], `\u0030` + keys[0][1:]} {
				dup := append([]string(nil), keys...)
				dup[at] = spell
				var e *rawjson.Error
				if err := rawjson.Validate(doc(dup)); !errors.As(err, &e) || e.Rule != rawjson.RuleDuplicate || e.Pointer != "/0x0" {
					if at > 0 {
						t.Errorf("%d keys, %q again at %d: error = %v", n, spell, at, err)
					}
				}
			}
		}
	}
}

// A document of the largest allowed objects must not cost more per byte than
// others: pairwise comparison of 10 000 keys would take thousands of times as
// long. The bound is wide because the machine may be busy.
func TestManyKeysStayLinear(t *testing.T) {
	object := func(prefix string) string {
		var b strings.Builder
		b.WriteByte('{')
		for i := range 10_000 {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `"%s%05d":0`, prefix, i)
		}
		return b.String() + "}"
	}
	for name, src := range map[string]string{
		"plain":         "[" + strings.Repeat(object("")+",", 20) + "0]",
		"escaped":       "[" + strings.Repeat(object(`\u0041`)+",", 10) + "0]",
		"common prefix": "[" + strings.Repeat(object(strings.Repeat("a", 300))+",", 1) + "0]",
	} {
		start := time.Now()
		root, err := rawjson.Parse([]byte(src), rawjson.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if p := root.FoldDuplicate(true); p != "" {
			t.Errorf("%s: FoldDuplicate = %q", name, p)
		}
		for item := range root.Items() {
			if _, _, ok := item.FoldsTo(strings.Fields(strings.Repeat("name ", 200))...); ok {
				t.Errorf("%s: a key folds to name", name)
			}
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: %d bytes took %v", name, len(src), took)
		}
	}
}

func TestDocIsReusable(t *testing.T) {
	var d rawjson.Doc
	if d.Root().Exists() {
		t.Error("a new Doc has a root")
	}
	for _, tt := range []struct {
		src string
		ok  bool
	}{{`{"a":[1,2,3]}`, true}, {`{"a":1`, false}, {`"x"`, true}, {`{"a":1,"a":2}`, false}, {`[]`, true}} {
		err := d.Parse([]byte(tt.src), rawjson.Limits{})
		if (err == nil) != tt.ok || d.Root().Exists() != tt.ok {
			t.Fatalf("%s: error = %v, root exists = %v", tt.src, err, d.Root().Exists())
		}
		if tt.ok && string(d.Root().Raw()) != tt.src {
			t.Errorf("%s: root = %s", tt.src, d.Root().Raw())
		}
	}
	d.Reset()
	if d.Root().Exists() {
		t.Error("a Doc has a root after Reset")
	}
	if err := d.Parse([]byte(`1`), rawjson.Limits{}); err != nil || string(d.Root().Raw()) != "1" {
		t.Errorf("after Reset: %v", err)
	}
}

func TestParsingReusedDocAllocatesNothing(t *testing.T) {
	var big strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&big, `,"k%d":"\u00e9"`, i)
	}
	for name, src := range map[string]string{
		"call":          toolCall,
		"escaped keys":  `{"\u0061":1,"b":{"\u0063":2,"d":3}}`,
		"3 000 members": "{" + big.String()[1:] + "}",
	} {
		var d rawjson.Doc
		body := []byte(src)
		parse := func() {
			if err := d.Parse(body, rawjson.Limits{}); err != nil {
				t.Fatal(err)
			}
		}
		parse()
		if n := testing.AllocsPerRun(50, parse); n != 0 {
			t.Errorf("%s: %v allocations per parse", name, n)
		}
	}
}

// FuzzParse compares with two other parsers: encoding/json knows the grammar
// but is lenient about encoding and keys; jsontext refuses what we refuse.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		toolCall, ``, `null`, `[1,-0,0.5,1e5,1E-5,12.5e+3]`, `{"a":{"b":[{},[],""]}}`, `{"a":1,"\u0061":2}`,
		`"\ud83d\ude00"`, `"\ud83d"`, "\"\xff\"", "\ufeff1", `[01]`, `{"é":"日本語"}`, "\"\x01\"", `"\/\b\f\n\r\t\"\\"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		before := string(src)
		lim := rawjson.Limits{Depth: 1000}
		root, err := rawjson.Parse(src, lim)
		if string(src) != before {
			t.Fatal("Parse changed its source")
		}
		var e *rawjson.Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("error is a %T", err)
		}
		if e != nil && (e.Offset < 0 || e.Offset > len(src) || e.Error() == "") {
			t.Fatalf("bad error %+v", e)
		}
		if e != nil && (e.Rule == rawjson.RuleDepth || e.Rule == rawjson.RuleMembers || e.Rule == rawjson.RuleTooLarge) {
			return
		}
		if err == nil && !json.Valid(src) {
			t.Fatal("accepted what encoding/json refuses")
		}
		if strict := jsontext.Value(src).IsValid(); strict != (err == nil) {
			t.Fatalf("jsontext valid = %v, error = %v", strict, err)
		}
		if e != nil && e.Rule == rawjson.RuleSyntax && json.Valid(src) {
			t.Fatalf("syntax error in valid JSON: %v", e)
		}
		if err == nil {
			checkView(t, src, root)
		}
	})
}

// checkView checks that every value of the tree is a view of bytes that parse
// to the same, and that the parts are all of it.
func checkView(t *testing.T, src []byte, v rawjson.Value) {
	start, end := v.Span()
	if string(src[start:end]) != string(v.Raw()) || len(v.Raw()) == 0 {
		t.Fatalf("span %d:%d and raw %q differ", start, end, v.Raw())
	}
	again, err := rawjson.Parse(v.Raw(), rawjson.Limits{Depth: 1000})
	if err != nil || again.Kind() != v.Kind() || again.Len() != v.Len() {
		t.Fatalf("%q does not parse to the same: %v", v.Raw(), err)
	}
	n := 0
	switch v.Kind() {
	case rawjson.Object:
		for k, val := range v.Members() {
			n++
			key, ok := k.Str()
			if !ok || !k.Equals(key) {
				t.Fatalf("key %q is not a string", k.Raw())
			}
			if got := v.Get(key); string(got.Raw()) != string(val.Raw()) || got.Pointer() != k.Pointer() {
				t.Fatalf("Get(%q) = %q at %s, want %q at %s", key, got.Raw(), got.Pointer(), val.Raw(), k.Pointer())
			}
			checkView(t, src, val)
		}
	case rawjson.Array:
		for item := range v.Items() {
			n++
			checkView(t, src, item)
		}
	case rawjson.String:
		var want string
		if err := json.Unmarshal(v.Raw(), &want); err != nil {
			t.Fatal(err)
		}
		if got, ok := v.Str(); !ok || got != want || !v.Equals(want) || v.Equals(want+"x") {
			t.Fatalf("Str(%s) = %q, want %q", v.Raw(), got, want)
		}
	}
	if n != v.Len() {
		t.Fatalf("Len = %d, but there are %d", v.Len(), n)
	}
}
