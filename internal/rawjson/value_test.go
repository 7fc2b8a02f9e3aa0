package rawjson_test

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/rawjson"
)

func mustParse(t testing.TB, src string) rawjson.Value {
	t.Helper()
	v, err := rawjson.Parse([]byte(src), rawjson.Limits{})
	if err != nil {
		t.Fatalf("parsing %s: %v", src, err)
	}
	return v
}

func TestMissingIsSafe(t *testing.T) {
	for name, v := range map[string]rawjson.Value{
		"zero":          {},
		"absent member": mustParse(t, `{"a":1}`).Get("b"),
		"member of one": mustParse(t, `{"a":1}`).Path("a", "b", "c"),
		"of an array":   mustParse(t, `["a"]`).Get("0"),
		"new doc":       new(rawjson.Doc).Root(),
	} {
		t.Run(name, func(t *testing.T) {
			start, end := v.Span()
			_, isStr := v.Str()
			_, isBool := v.Bool()
			_, isInt := v.Int64()
			_, _, folds := v.FoldsTo("a")
			_, deleted := rawjson.DeleteMember(v, "a")
			for range v.Members() {
				t.Error("has a member")
			}
			for range v.Items() {
				t.Error("has an item")
			}
			if v.Exists() || v.Kind() != rawjson.Missing || v.Raw() != nil || start != 0 || end != 0 || v.Len() != 0 ||
				isStr || isBool || isInt || folds || deleted || v.Equals("") || v.Get("a").Exists() || v.Pointer() != "" ||
				v.FoldDuplicate(true) != "" || rawjson.AppendCanonical(nil, v) != nil || rawjson.AppendUnescaped(nil, v) != nil {
				t.Error("not missing")
			}
		})
	}
}

func TestValuesAreViews(t *testing.T) {
	src := []byte(` { "a" : [ null , true , false , -1.5e3 , "x" , { } , [ ] ] , "b" : { "c" : { "d" : "e" } } } `)
	var d rawjson.Doc
	if err := d.Parse(src, rawjson.Limits{}); err != nil {
		t.Fatal(err)
	}
	root := d.Root()
	type view struct {
		Kind    rawjson.Kind
		Raw     string
		Len     int
		Pointer string
	}
	look := func(v rawjson.Value) view { return view{v.Kind(), string(v.Raw()), v.Len(), v.Pointer()} }
	var got []view
	for item := range root.Get("a").Items() {
		got = append(got, look(item))
	}
	want := []view{
		{rawjson.Null, "null", 0, "/a/0"}, {rawjson.True, "true", 0, "/a/1"}, {rawjson.False, "false", 0, "/a/2"},
		{rawjson.Number, "-1.5e3", 0, "/a/3"}, {rawjson.String, `"x"`, 0, "/a/4"},
		{rawjson.Object, "{ }", 0, "/a/5"}, {rawjson.Array, "[ ]", 0, "/a/6"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	e := root.Path("b", "c", "d")
	start, end := e.Span()
	if string(src[start:end]) != `"e"` || e.Pointer() != "/b/c/d" || root.Path().Len() != 2 {
		t.Errorf("d is %q at %s", src[start:end], e.Pointer())
	}
	if &e.Raw()[0] != &src[start] || cap(e.Raw()) != 3 {
		t.Error("Raw is not a view of the source, or one can append to it")
	}
	var keys []string
	for k := range root.Members() {
		s, _ := k.Str()
		keys = append(keys, s+k.Pointer())
		break
	}
	for range root.Get("a").Items() {
		break
	}
	if diff := cmp.Diff([]string{"a/a"}, keys); diff != "" {
		t.Errorf("keys after a break (-want +got):\n%s", diff)
	}
}

func TestStringsUnescape(t *testing.T) {
	for src, want := range map[string]string{
		`""`:                         "",
		`"plain"`:                    "plain",
		`"é日本😀"`:                     "é日本😀",
		`"\"\\\/\b\f\n\r\t"`:         "\"\\/\b\f\n\r\t",
		`"\u0041\u00e9\u65E5\u0000"`: "Aé日\x00",
		`"\ud83d\ude00\uDBFF\uDFFF"`: "😀\U0010ffff",
		`"a\u0062c"`:                 "abc",
		`"\ufffd\ufeff"`:             "\ufffd\ufeff",
	} {
		v := mustParse(t, src)
		if got, ok := v.Str(); !ok || got != want {
			t.Errorf("Str(%s) = %q, %v", src, got, ok)
		}
		if got := rawjson.AppendUnescaped([]byte("x"), v); string(got) != "x"+want {
			t.Errorf("AppendUnescaped(%s) = %q", src, got)
		}
		if !v.Equals(want) || v.Equals(want+"a") || v.Equals("a"+want) || want != "" && v.Equals(want[:len(want)-1]) {
			t.Errorf("Equals of %s is wrong", src)
		}
		if got := mustParse(t, `{`+src+`:7}`).Get(want); string(got.Raw()) != "7" {
			t.Errorf("Get(%q) of key %s = %q", want, src, got.Raw())
		}
	}
	// U+FFFD in the document is not what a broken comparison string decodes to.
	for _, src := range []string{`"\ufffd"`, "\"\ufffd\""} {
		if mustParse(t, src).Equals("\xff") {
			t.Errorf("%s equals an invalid string", src)
		}
	}
	if _, ok := mustParse(t, `1`).Str(); ok {
		t.Error("a number is a string")
	}
	if mustParse(t, `abc`[:0]+`"abc"`).Get("abc").Exists() {
		t.Error("a string has members")
	}
}

func TestBool(t *testing.T) {
	for src, want := range map[string][2]bool{`true`: {true, true}, `false`: {false, true}, `null`: {}, `"true"`: {}, `1`: {}} {
		if val, ok := mustParse(t, src).Bool(); val != want[0] || ok != want[1] {
			t.Errorf("Bool(%s) = %v, %v", src, val, ok)
		}
	}
}

func TestInt64IsExact(t *testing.T) {
	for src, want := range map[string]int64{
		"0": 0, "7": 7, "-7": -7, "9007199254740993": 9007199254740993,
		"9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	} {
		if got, ok := mustParse(t, src).Int64(); !ok || got != want {
			t.Errorf("Int64(%s) = %d, %v", src, got, ok)
		}
	}
	for _, src := range []string{"-0", "1.0", "1e3", "1E0", "0.0", "9223372036854775808", "-9223372036854775809",
		strings.Repeat("9", 1000), `"1"`, "null", "[1]"} {
		if got, ok := mustParse(t, src).Int64(); ok || got != 0 {
			t.Errorf("Int64(%s) = %d, %v, want none", src, got, ok)
		}
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	root := mustParse(t, toolCall)
	escaped := mustParse(t, `{"\u0061":"\u0062","id":12345}`)
	var dst [256]byte
	sum := 0
	if n := testing.AllocsPerRun(50, func() {
		for k, v := range root.Get("params").Members() {
			if k.Equals("arguments") {
				for range v.Get("labels").Items() {
					sum++
				}
			}
		}
		if !escaped.Get("a").Equals("b") {
			sum = math.MinInt
		}
		id, _ := escaped.Get("id").Int64()
		sum += int(id) + len(rawjson.AppendUnescaped(dst[:0], escaped.Get("a")))
		if root.FoldDuplicate(true) != "" {
			sum = math.MinInt
		}
		if _, _, ok := root.FoldsTo("jsonrpc", "method"); ok {
			sum = math.MinInt
		}
		sum += len(rawjson.AppendCanonical(dst[:0], escaped))
	}); n != 0 || sum < 0 {
		t.Errorf("%v allocations, sum %d", n, sum)
	}
}

func TestAppendStringRoundTrips(t *testing.T) {
	for in, want := range map[string]string{
		"":                            `""`,
		"plain é日😀 \u2028\x7f</>":     `"plain é日😀 ` + "\u2028\x7f" + `</>"`,
		"\"\\/":                       `"\"\\/"`,
		"\b\f\n\r\t":                  `"\b\f\n\r\t"`,
		"\x00\x0b\x1f":                `"\u0000\u000b\u001f"`,
		"a\xffb\xe2\x82c\xed\xa0\x80": `"a` + "\uFFFD" + `b` + "\uFFFD\uFFFD" + `c` + "\uFFFD\uFFFD\uFFFD" + `"`,
	} {
		got := rawjson.AppendString([]byte("k:"), in)
		if string(got) != "k:"+want {
			t.Errorf("AppendString(%q) = %s, want %s", in, got, want)
		}
		if back, _ := mustParse(t, string(got[2:])).Str(); back != strings.ToValidUTF8(strings.ReplaceAll(strings.ReplaceAll(in, "\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"), "\xe2\x82", "\uFFFD\uFFFD"), "\uFFFD") {
			t.Errorf("%q comes back as %q", in, back)
		}
	}
	for c := range 0x80 {
		s := "x" + string(rune(c)) + "y"
		if back, _ := mustParse(t, string(rawjson.AppendString(nil, s))).Str(); back != s {
			t.Errorf("%s comes back as %q", strconv.Quote(s), back)
		}
	}
}
