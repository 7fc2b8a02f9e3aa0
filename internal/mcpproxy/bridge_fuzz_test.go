package mcpproxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"

	"rutile/internal/mcpproxy"
	"rutile/internal/rawjson"
)

// What a server asks and a client answers is anybody's: whatever it is, what the
// bridges make of it is one well-formed message that says the same and no more.

func FuzzAskedOfModernClient(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":"server-7","method":"elicitation/create","params":{"message":"how?","requestedSchema":{"type":"object","properties":{"n":{"type":"number"}}}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"mode":"url","message":"there","url":"https://a.example","elicitationId":"1","task":{"ttl":1}}}`,
		`{"jsonrpc":"2.0","id":2,"method":"sampling/createMessage","params":{"messages":[{"role":"user","content":{"type":"text","text":"x"}}],"maxTokens":1,"_meta":{"progressToken":3}}}`,
		`{"jsonrpc":"2.0","id":3,"method":"roots/list"}`, `{"id":4,"method":"roots/list","params":[]}`, `{"id":5,"method":"elicitation/create","params":{"Mode":"url"}}`, `{"method":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := rawjson.Parse(raw, rawjson.Limits{Bytes: 1 << 16})
		if err != nil {
			return
		}
		entry, method := mcpproxy.Entry(v)
		if entry == nil {
			return
		}
		got, err := rawjson.Parse(entry, rawjson.Limits{Bytes: 1 << 18})
		if err != nil {
			t.Fatalf("%s became %s: %v", raw, entry, err)
		}
		if !got.Get("method").Equals(method) || got.Len() != 2 || got.Get("params").Kind() != rawjson.Object {
			t.Errorf("%s became %s", raw, entry)
		}
		for k, p := range v.Get("params").Members() {
			key, _ := k.Str()
			if key == "elicitationId" || key == "task" {
				continue
			}
			if !bytes.Equal(got.Path("params", key).Raw(), p.Raw()) {
				t.Errorf("%q of %s became %s", key, raw, entry)
			}
		}
	})
}

func FuzzAnswersOfModernClient(f *testing.F) {
	for _, seed := range []string{
		`{"a":{"action":"accept","content":{"n":1.0}}}`, `{"a":{"action":"decline"},"b":{"roots":[{"uri":"file:///w"}]},"c":{"role":"assistant","model":"m","content":{"type":"text","text":"x"}}}`,
		`{"A":{"action":"accept"}}`, `{"b":{"action":"accept"}}`, `{"\u0061":{"action":"accept"},"x":1}`, `{}`, `[]`, `{"a":null}`, `{"a":{"action":"accept","Action":"decline"}}`,
	} {
		f.Add([]byte(seed), []byte(`"s\u0074ate"`))
	}
	f.Add([]byte(`{"a":{"action":"accept"}}`), []byte(nil))
	f.Fuzz(func(t *testing.T, responses, inner []byte) {
		// As it is taken out of a result: a string and nothing around it.
		if s, err := rawjson.Parse(inner, rawjson.Limits{Bytes: 1 << 16}); err == nil && s.Kind() == rawjson.String {
			inner = s.Raw()
		} else {
			inner = nil
		}
		body := append(append([]byte(`{"name":"echo","arguments":{"x":1},"inputResponses":`), responses...), `,"requestState":"sealed"}`...)
		params, err := rawjson.Parse(body, rawjson.Limits{Bytes: 1 << 18})
		if err != nil {
			return
		}
		asked := map[string]string{"a": "elicitation", "r": "roots", "c": "sampling"}
		out := mcpproxy.CarriedOn(params, asked, map[string]json.RawMessage{"b": json.RawMessage(`{"action":"decline"}`)}, inner)
		if out == nil {
			return
		}
		got, err := rawjson.Parse(out, rawjson.Limits{Bytes: 1 << 18})
		if err != nil {
			t.Fatalf("%s became %s: %v", body, out, err)
		}
		if !bytes.Equal(got.Get("requestState").Raw(), inner) || !bytes.Equal(got.Get("arguments").Raw(), []byte(`{"x":1}`)) {
			t.Errorf("%s became %s", body, out)
		}
		for k, v := range got.Get("inputResponses").Members() {
			key, _ := k.Str()
			switch {
			case key == "b":
				if string(v.Raw()) != `{"action":"decline"}` {
					t.Errorf("the gateway's answer became %s", v.Raw())
				}
			case asked[key] == "":
				t.Errorf("an answer to nothing: %q in %s", key, out)
			case !bytes.Equal(v.Raw(), params.Path("inputResponses", key).Raw()):
				t.Errorf("%q of %s became %s", key, body, out)
			case mcpproxy.AnswerFault(asked[key], v) != "":
				t.Errorf("an answer that is none was carried: %s", v.Raw())
			}
		}
	})
}

func FuzzAskedOfLegacyClient(f *testing.F) {
	for _, seed := range []string{
		`{"inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"form","message":"how?","requestedSchema":{"type":"object","properties":{}}}}},"requestState":"s"}`,
		`{"inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"url","message":"there","url":"https://a.example"}},"r":{"method":"roots/list"}}}`,
		`{"inputRequests":{"a":{"method":"elicitation/create","params":{}}}}`, `{"inputRequests":[]}`, `{"requestState":1}`,
	} {
		for _, version := range []string{"2025-11-25", "2025-06-18", "2025-03-26"} {
			f.Add([]byte(seed), version)
		}
	}
	f.Fuzz(func(t *testing.T, result []byte, version string) {
		v, err := rawjson.Parse(result, rawjson.Limits{Bytes: 1 << 16})
		if err != nil {
			return
		}
		for _, request := range v.Get("inputRequests").Members() {
			msg := mcpproxy.Question(request, version)
			if msg == nil {
				continue
			}
			got, err := rawjson.Parse(msg, rawjson.Limits{Bytes: 1 << 18})
			if err != nil {
				t.Fatalf("%s became %s: %v", request.Raw(), msg, err)
			}
			method, _ := request.Get("method").Str()
			if !got.Get("method").Equals(method) || string(got.Get("id").Raw()) != "7" || got.Len() > 4 {
				t.Errorf("%s became %s", request.Raw(), msg)
			}
			if version == "2025-06-18" && got.Path("params", "mode").Exists() {
				t.Errorf("2025-06-18 has no mode: %s", msg)
			}
		}
	})
}

// plainSeal seals nothing, so that the fuzzer reaches what is behind the seal.
type plainSeal struct{}

func (plainSeal) Seal(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }
func (plainSeal) Open(_ context.Context, _ string, b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errors.New("empty")
	}
	return b, nil
}

func FuzzRequestState(f *testing.F) {
	f.Add([]byte(`{"k":"park","p":{"Agent":"bot"},"s":"up","f":"x","r":1}`))
	f.Add([]byte(`{"k":"carry","a":{"a":"elicitation"},"o":{"b":{"action":"decline"}},"i":"InMi"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, plain []byte) {
		if mcpproxy.Opens(plainSeal{}, plain) {
			t.Errorf("%s is good for a call it was not made for", plain)
		}
	})
}
