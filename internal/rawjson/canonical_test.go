package rawjson_test

import (
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"

	"rutile/internal/rawjson"
)

func canonical(t testing.TB, src string) string {
	t.Helper()
	return string(rawjson.AppendCanonical(nil, mustParse(t, src)))
}

func TestCanonicalFormOfNumbersKeepsTheValue(t *testing.T) {
	for want, spellings := range map[string][]string{
		"0":                              {"0", "-0", "0.0", "0e5", "-0.000E-99999999999999999999999", "0e99999999999999999999"},
		"1":                              {"1", "1.0", "10e-1", "1E0", "1e+0", "0.1e1", "1.000", "100000000000000000000000e-23"},
		"-1.5":                           {"-1.5", "-15e-1", "-0.15e1", "-1.50"},
		"100000000000000000000":          {"1e20", "100000000000000000000", "100000000000000000000.0"},
		"1e+21":                          {"1e21", "1000000000000000000000", "0.1e22"},
		"1.5e+21":                        {"1.5e21", "1500000000000000000000"},
		"0.000001":                       {"1e-6", "0.000001", "0.0000010"},
		"1e-7":                           {"1e-7", "0.0000001"},
		"123456789012345678901":          {"123456789012345678901", "123456789012345678901.0"},
		"1.234567890123456789012345e+24": {"1234567890123456789012345"},
		"9007199254740993":               {"9007199254740993", "9007199254740993.0"},
		"0.1000000000000000055":          {"0.1000000000000000055"},
		"5e-324":                         {"5e-324"},
		"1e+400":                         {"1e400", "10e399"},
		"1e+999999999":                   {"1e999999999", "0.001e1000000002"},
		"1e+999999999999999999":          {"1e999999999999999999", "0.1e1000000000000000000"},
		"1e+1000000000000000000":         {"1e1000000000000000000", "10e999999999999999999"},
		"1.2e+100000000000000000000":     {"1.2e100000000000000000000", "12e99999999999999999999", "0.00012e00100000000000000000004"},
		"-1.2e-99999999999999999999":     {"-1.2e-99999999999999999999", "-0.12e-99999999999999999998", "-12e-100000000000000000000"},
	} {
		for _, src := range spellings {
			if got := canonical(t, src); got != want {
				t.Errorf("canonical form of %s = %s, want %s", src, got, want)
			}
		}
	}
}

// The examples of RFC 8785, appendix B, as text.
func TestCanonicalFormOfNumbersFollowsRFC8785(t *testing.T) {
	for _, want := range []string{
		"5e-324", "-5e-324", "1.7976931348623157e+308", "9007199254740992", "295147905179352830000", "9.999999999999997e+22",
		"1e+23", "1.0000000000000001e+23", "999999999999999700000", "999999999999999900000", "1e+21", "9.999999999999997e-7",
		"0.000001", "333333333.3333332", "333333333.33333325", "333333333.3333334", "-0.0000033333333333333333", "1424953923781206.2",
	} {
		f, err := strconv.ParseFloat(want, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, src := range []string{want, strconv.FormatFloat(f, 'e', -1, 64), strconv.FormatFloat(f, 'f', -1, 64)} {
			if got := canonical(t, src); got != want {
				t.Errorf("canonical form of %s = %s, want %s", src, got, want)
			}
		}
	}
}

func TestCanonicalFormOfHugeExponentStaysShort(t *testing.T) {
	for _, src := range []string{"1e999999999", "1e-999999999", "1E" + strings.Repeat("9", 100_000), "-1.5e-" + strings.Repeat("9", 100_000)} {
		if got := canonical(t, src); len(got) > len(src)+21 {
			t.Errorf("the form of a number of %d bytes has %d", len(src), len(got))
		}
	}
}

func TestCanonicalForm(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"literals", ` [ null , true , false ] `, `[null,true,false]`},
		{"empty", `{ "a" : { } , "b" : [ ] }`, `{"a":{},"b":[]}`},
		{"nested order", `{"b":[{"z":1,"y":2}],"a":{"d":1,"c":2}}`, `{"a":{"c":2,"d":1},"b":[{"y":2,"z":1}]}`},
		{"escapes", `"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/"`, `"€$\u000f\nA'B\"\\\\\"/"`},
		{"escapes that stay", "\"\u2028\x7f<\\u003e\"", "\"\u2028\x7f<>\""},
		// RFC 8785, section 3.2.3
		{"UTF-16 order", `{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew","1":"One","\ud83d\ude00":"Emoji","\u0080":"Control","ö":"o"}`,
			"{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"o\",\"€\":\"Euro Sign\",\"😀\":\"Emoji\",\"\ufb33\":\"Hebrew\"}"},
		{"UTF-16 order without escapes", "{\"\ufb33\":1,\"😀\":2,\"€\":3,\"\U0010ffff\":4,\"\ue000\":5}", "{\"€\":3,\"😀\":2,\"\U0010ffff\":4,\"\ue000\":5,\"\ufb33\":1}"},
		{"order after a common prefix", "{\"a\ufb33\":1,\"a😀\":2,\"a\":3,\"aé\":4,\"aê\":5}", "{\"a\":3,\"aé\":4,\"aê\":5,\"a😀\":2,\"a\ufb33\":1}"},
		{"order of escaped prefixes", `{"ab":1,"\u0061":2,"a\u0062c":3,"":4}`, `{"":4,"a":2,"ab":1,"abc":3}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := canonical(t, tt.src)
			if got != tt.want {
				t.Errorf("canonical form = %s, want %s", got, tt.want)
			}
			if other, err := jcs.Transform([]byte(tt.src)); err != nil || string(other) != got {
				t.Errorf("jcs says %s, %v", other, err)
			}
		})
	}
	many := mustParse(t, `{"b":0,`+filler+`,"a":0}`)
	if want, err := jcs.Transform(many.Raw()); err != nil || string(rawjson.AppendCanonical(nil, many)) != string(want) {
		t.Errorf("large object: %s, jcs %s, %v", rawjson.AppendCanonical(nil, many), want, err)
	}
	if got := rawjson.AppendCanonical([]byte("x:"), many.Get("b")); string(got) != "x:0" {
		t.Errorf("form of a part = %s", got)
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		toolCall, `{"b":[1.0,1e2,-0,1E-7],"a":"\u00e9\ud83d\ude00"}`, `[1e999999999,123456789012345678901234567890]`,
		"{\"\ufb33\":1,\"😀\":2,\"\\u0000\":3}", `[0.1e22,10e99999999999999999999,1.50]`, `"\/"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		v, err := rawjson.Parse(src, rawjson.Limits{})
		if err != nil {
			return
		}
		form := rawjson.AppendCanonical(nil, v)
		again, err := rawjson.Parse(form, rawjson.Limits{Bytes: 2*len(form) + 1})
		if err != nil {
			t.Fatalf("the form %q is refused: %v", form, err)
		}
		if twice := rawjson.AppendCanonical(nil, again); string(twice) != string(form) {
			t.Fatalf("the form %q has the form %q", form, twice)
		}
		if !checkNumbers(t, v) {
			return
		}
		if want, err := jcs.Transform(src); err != nil || string(want) != string(form) {
			t.Fatalf("form %q, jcs %q, %v", form, want, err)
		}
	})
}

// checkNumbers checks that the form of every number in v has its value and
// reports whether RFC 8785 would keep all of them.
func checkNumbers(t *testing.T, v rawjson.Value) (exact bool) {
	exact = true
	for _, val := range v.Members() {
		exact = checkNumbers(t, val) && exact
	}
	for item := range v.Items() {
		exact = checkNumbers(t, item) && exact
	}
	if v.Kind() != rawjson.Number {
		return exact
	}
	raw, form := string(v.Raw()), string(rawjson.AppendCanonical(nil, v))
	if len(form) > len(raw)+21 {
		t.Fatalf("the form of %s has %d bytes", raw, len(form))
	}
	number, err := strconv.ParseFloat(raw, 64)
	if e := strings.IndexAny(raw, "eE"); e < 0 || len(raw)-e < 5 { // big.Rat writes exponents in full
		a, ok := new(big.Rat).SetString(raw)
		b, ok2 := new(big.Rat).SetString(form)
		if !ok || !ok2 || a.Cmp(b) != 0 {
			t.Fatalf("the form of %s is %s, another value", raw, form)
		}
	}
	return err == nil && canonical(t, strconv.FormatFloat(number, 'e', -1, 64)) == form
}
