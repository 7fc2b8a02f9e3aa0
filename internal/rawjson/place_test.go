package rawjson_test

import (
	"strings"
	"testing"

	"rutile/internal/rawjson"
)

func TestReplaceAtPlaces(t *testing.T) {
	for name, tt := range map[string]struct {
		src, paths, want string
		missed           int
	}{
		"a member":                     {`{"a":1,"b":"x"}`, "a", `{"a":"M","b":"x"}`, -1},
		"bytes around stay":            {`{ "a" : 1e2 , "b" : [ ] }`, "a", `{ "a" : "M" , "b" : [ ] }`, -1},
		"an object":                    {`{"a":{"b":[1,2]}}`, "a", `{"a":"M"}`, -1},
		"null":                         {`{"a":null}`, "a", `{"a":"M"}`, -1},
		"inside":                       {`{"a":{"b":1,"c":2}}`, "a/b", `{"a":{"b":"M","c":2}}`, -1},
		"every item":                   {`{"a":[{"b":1},{"b":2},{}]}`, "a/*/b", `{"a":[{"b":"M"},{"b":"M"},{}]}`, -1},
		"every member":                 {`{"a":{"x":1,"y":[2]}}`, "a/*", `{"a":{"x":"M","y":"M"}}`, -1},
		"one item":                     {`{"a":[1,2,3]}`, "a/1", `{"a":[1,"M",3]}`, -1},
		"an index that is a key":       {`{"a":{"1":2}}`, "a/1", `{"a":{"1":"M"}}`, -1},
		"nothing in it":                {`{"a":[]}`, "a/*/b", `{"a":[]}`, -1},
		"no member":                    {`{"b":1}`, "a", `{"b":1}`, 0},
		"no item":                      {`{"a":[1]}`, "a/1", `{"a":[1]}`, 0},
		"an index with a leading zero": {`{"a":[1,2]}`, "a/01", `{"a":[1,2]}`, 0},
		"a negative index":             {`{"a":[1,2]}`, "a/-1", `{"a":[1,2]}`, 0},
		"through a string":             {`{"a":"b"}`, "a/b", `{"a":"b"}`, 0},
		"every part of a string":       {`{"a":"b"}`, "a/*", `{"a":"b"}`, 0},
		"items without the member":     {`{"a":[{"c":1}]}`, "a/*/b", `{"a":[{"c":1}]}`, 0},
		"the second leads nowhere":     {`{"a":1}`, "a b", `{"a":"M"}`, 1},
		"an escaped key":               {`{"\u0061":1}`, "a", `{"\u0061":"M"}`, -1},
		"another spelling":             {`{"A":1}`, "a", `{"A":1}`, 0},
		"beside another spelling":      {`{"a":1,"A":2}`, "a", `{"a":1,"A":2}`, 0},
		"in one of the items":          {`[{"a":1},{"a":2,"\u0041":3}]`, "*/a", `[{"a":"M"},{"a":2,"\u0041":3}]`, 0},
		"one place twice":              {`{"a":1}`, "a a *", `{"a":"M"}`, -1},
		"one within the other":         {`{"a":{"b":1},"c":2}`, "a/b a c", `{"a":"M","c":"M"}`, -1},
	} {
		var paths [][]string
		for p := range strings.SplitSeq(tt.paths, " ") {
			paths = append(paths, strings.Split(p, "/"))
		}
		edits, missed := rawjson.Replace(mustParse(t, tt.src), paths, []byte(`"M"`))
		if got := string(rawjson.Splice([]byte(tt.src), edits...)); got != tt.want || missed != tt.missed {
			t.Errorf("%s: %s, missed %d; want %s, missed %d", name, got, missed, tt.want, tt.missed)
		}
	}
	if edits, missed := rawjson.Replace(rawjson.Value{}, [][]string{{"a"}}, nil); edits != nil || missed != 0 {
		t.Errorf("of nothing: %v, missed %d", edits, missed)
	}
}
