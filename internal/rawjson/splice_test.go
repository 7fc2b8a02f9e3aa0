package rawjson_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/rawjson"
)

func TestSpliceReplacesSpans(t *testing.T) {
	src := []byte(`{"id":1,"name":"a"}`)
	root := mustParse(t, string(src))
	edit := func(key, text string) rawjson.Edit {
		start, end := root.Get(key).Span()
		return rawjson.Edit{Start: start, End: end, Text: []byte(text)}
	}
	got := rawjson.Splice(src, edit("id", `"long id"`), edit("name", `7`))
	if string(got) != `{"id":"long id","name":7}` || string(src) != `{"id":1,"name":"a"}` {
		t.Errorf("result %s, source %s", got, src)
	}
	same := rawjson.Splice(src)
	if string(same) != string(src) || &same[0] == &src[0] {
		t.Error("Splice without edits is not a copy")
	}
}

func TestSplicePanicsOnWrongEdits(t *testing.T) {
	for name, edits := range map[string][]rawjson.Edit{
		"unsorted":    {{Start: 4, End: 5}, {Start: 0, End: 1}},
		"overlapping": {{Start: 0, End: 3}, {Start: 2, End: 4}},
		"reversed":    {{Start: 3, End: 2}},
		"negative":    {{Start: -1, End: 2}},
		"outside":     {{Start: 2, End: 20}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			rawjson.Splice([]byte(`[1,2,3]`), edits...)
		})
	}
}

func TestEditingNothingPanics(t *testing.T) {
	for _, v := range []rawjson.Value{{}, mustParse(t, `[1]`), mustParse(t, `"a"`)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("setting a member of %q: no panic", v.Raw())
				}
			}()
			rawjson.SetMember(v, "a", []byte("1"))
		}()
	}
}

func TestSetMember(t *testing.T) {
	for _, tt := range []struct{ src, key, raw, want string }{
		{`{}`, "a", `1`, `{"a":1}`},
		{`{ }`, "a", `1`, `{"a":1 }`},
		{`{"a":1}`, "a", `[2]`, `{"a":[2]}`},
		{`{"\u0061" : 1 , "b":2}`, "a", `3`, `{"\u0061" : 3 , "b":2}`},
		{`{"a":1 }`, "b\n", `{"c":1}`, `{"a":1,"b\n":{"c":1} }`},
		{`{"a":{"b":1}}`, "b", `2`, `{"a":{"b":1},"b":2}`},
		{`{"a":1}`, "a", "", `{"a":null}`},
	} {
		raw := []byte(tt.raw)
		if tt.raw == "" {
			raw = nil
		}
		got := rawjson.Splice([]byte(tt.src), rawjson.SetMember(mustParse(t, tt.src), tt.key, raw))
		if string(got) != tt.want {
			t.Errorf("%s with %q = %s, want %s", tt.src, tt.key, got, tt.want)
		}
		mustParse(t, string(got))
	}
	src := `{"x":1,"params":{"_meta":{}}}`
	meta := mustParse(t, src).Path("params", "_meta")
	if got := rawjson.Splice([]byte(src), rawjson.SetMember(meta, "a", []byte("1"))); string(got) != `{"x":1,"params":{"_meta":{"a":1}}}` {
		t.Errorf("nested: %s", got)
	}
}

func TestDeleteMember(t *testing.T) {
	for _, tt := range []struct{ src, key, want string }{
		{`{"a":1}`, "a", `{}`},
		{`{ "a" : 1 }`, "a", `{  }`},
		{`{"a":1,"b":2}`, "a", `{"b":2}`},
		{`{"a":1,"b":2}`, "b", `{"a":1}`},
		{`{"a":1, "b":2 , "c":3}`, "b", `{"a":1 , "c":3}`},
		{`{"a":1,"\u0062":{"b":2}}`, "b", `{"a":1}`},
	} {
		edit, ok := rawjson.DeleteMember(mustParse(t, tt.src), tt.key)
		got := rawjson.Splice([]byte(tt.src), edit)
		if !ok || string(got) != tt.want {
			t.Errorf("%s without %q = %s, %v, want %s", tt.src, tt.key, got, ok, tt.want)
		}
		mustParse(t, string(got))
	}
	for _, src := range []string{`{}`, `{"b":{"a":1}}`, `{"A":1}`, `["a"]`} {
		if edit, ok := rawjson.DeleteMember(mustParse(t, src), "a"); ok {
			t.Errorf("deleting from %s: %+v", src, edit)
		}
	}
}

// All combinations of keeping, removing and replacing up to five members, with
// and without additions, give the document a map would give.
func TestEditObjectMatchesAMap(t *testing.T) {
	for n := range 6 {
		combinations := 1
		for range n {
			combinations *= 3
		}
		for combination := range combinations * 3 {
			src, want := "{ ", map[string]any{}
			var changes []rawjson.Change
			rest := combination
			for i := range n {
				key := fmt.Sprintf("k%d", i)
				if i > 0 {
					src += " , "
				}
				src += fmt.Sprintf(`"\u006b%d" : [%d]`, i, i)
				switch rest % 3 {
				case 0:
					want[key] = []any{float64(i)}
				case 1:
					changes = append(changes, rawjson.Change{Key: key})
				case 2:
					changes = append(changes, rawjson.Change{Key: key, Raw: []byte(`"new"`)})
					want[key] = "new"
				}
				rest /= 3
			}
			src += " }"
			for i := range rest {
				key := fmt.Sprintf("added%d", i)
				// First, so that the order of changes is not that of members.
				changes = append([]rawjson.Change{{Key: key, Raw: []byte("true")}, {Key: "absent" + key}}, changes...)
				want[key] = true
			}
			outer := `{"o":` + src + `,"z":0}`
			got := rawjson.Splice([]byte(outer), rawjson.EditObject(mustParse(t, outer).Get("o"), changes...)...)
			var have struct{ O map[string]any }
			if err := json.Unmarshal(got, &have); err != nil || !cmp.Equal(want, have.O) {
				t.Fatalf("%s with %+v = %s, want %v", outer, changes, got, want)
			}
			mustParse(t, string(got))
		}
	}
}

// FuzzSplice edits the object in a document and expects the strict parser to
// read back exactly what was asked for.
func FuzzSplice(f *testing.F) {
	f.Add([]byte(toolCall), "params", "id", `{"x":1}`)
	f.Add([]byte(`{"a":1,"b":2}`), "a", "b", `null`)
	f.Add([]byte(`{ "\u0061" : 1 }`), "a", "c", `"\n"`)
	f.Add([]byte(`{}`), "", "\x00", `[]`)
	f.Fuzz(func(t *testing.T, src []byte, set, remove, raw string) {
		v, err := rawjson.Parse(src, rawjson.Limits{})
		val, err2 := rawjson.Parse([]byte(raw), rawjson.Limits{Depth: 60})
		key, _ := mustParse(t, string(rawjson.AppendString(nil, set))).Str()
		if err != nil || err2 != nil || v.Kind() != rawjson.Object || key != set || set == remove {
			return
		}
		others := func(v rawjson.Value) (list []string) {
			for k, val := range v.Members() {
				if !k.Equals(set) && !k.Equals(remove) {
					list = append(list, string(k.Raw()), string(val.Raw()))
				}
			}
			return list
		}
		check := func(what string, edits ...rawjson.Edit) rawjson.Value {
			out := rawjson.Splice(src, edits...)
			got, err := rawjson.Parse(out, rawjson.Limits{Bytes: len(out) + 1, Depth: 70, Members: 10_001})
			if err != nil {
				t.Fatalf("%s gives %q: %v", what, out, err)
			}
			if diff := cmp.Diff(others(v), others(got)); diff != "" {
				t.Fatalf("%s changed other members:\n%s", what, diff)
			}
			return got
		}
		if got := check("SetMember", rawjson.SetMember(v, set, val.Raw())); string(got.Get(set).Raw()) != string(val.Raw()) {
			t.Fatalf("SetMember set %q", got.Get(set).Raw())
		}
		edit, ok := rawjson.DeleteMember(v, remove)
		if ok != v.Get(remove).Exists() {
			t.Fatalf("DeleteMember = %v", ok)
		}
		if got := check("DeleteMember", edit); got.Get(remove).Exists() {
			t.Fatal("DeleteMember left the member")
		}
		got := check("EditObject", rawjson.EditObject(v, rawjson.Change{Key: set, Raw: val.Raw()}, rawjson.Change{Key: remove})...)
		if got.Get(remove).Exists() || string(got.Get(set).Raw()) != string(val.Raw()) {
			t.Fatalf("EditObject gives %q", got.Raw())
		}
	})
}
