package mcpproxy

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// SecretForm is whether a form elicitation asks for a secret.
func SecretForm(params rawjson.Value) bool { return secretForm(params) }

// Openable is whether a person may be sent to an address.
func Openable(link string) bool { return openable(link) }

// AnswerFault is what is wrong with an answer.
func AnswerFault(kind string, v rawjson.Value) string { return answerFault(kind, v) }

const everyKind = `{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{"tools":{}}}`

// Entry is what a legacy server's request becomes for a modern client, nil if
// the client is not asked.
func Entry(v rawjson.Value) (entry []byte, method string) {
	a := understood(v)
	if a == nil {
		return nil, ""
	}
	return a.entry(), a.method
}

// Question is what a modern server's request becomes for a legacy client, nil if
// the client is not asked.
func Question(v rawjson.Value, version string) []byte {
	a := understood(v)
	if a == nil {
		return nil
	}
	msg, _ := a.question([]byte("7"), version)
	return msg
}

func understood(v rawjson.Value) *ask {
	told, err := new(Proxy).toldOf(everyKind)
	if err != nil {
		return nil
	}
	a := read(told, v)
	if a.refused() {
		return nil
	}
	if a.kind == "elicitation" && a.params.Get("mode").Equals("url") {
		a.link, _ = a.params.Get("url").Str()
	}
	return a
}

// CarriedOn is what a modern server gets of a retry's params, nil if the retry
// is refused.
func CarriedOn(params rawjson.Value, asked map[string]string, ours map[string]json.RawMessage, inner []byte) []byte {
	c := &call{in: &inbound{}, peer: &peer{modern: true}, state: &state{Kind: stateCarry, Asked: asked, Ours: ours, Inner: inner}}
	c.in.msg.params = params
	responses := params.Get("inputResponses")
	if responses.Kind() != rawjson.Object || c.state.faulty(responses) != nil {
		return nil
	}
	return rawjson.Splice(params.Raw(), rawjson.EditObject(params, c.carriedOn()...)...)
}

// Opens is whether a state is good for a call nobody made one for.
func Opens(seal access.Sealer, plain []byte) bool {
	body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}`)
	in := &inbound{p: &Proxy{seal: seal, log: slog.New(slog.DiscardHandler)}}
	if err := in.msg.parse(body, rawjson.Limits{}); err != nil {
		return true
	}
	c := &call{in: in, modern: true, req: &access.Request{Server: "up", Who: access.Identity{Actor: access.Actor{Agent: "bot"}}}}
	_, err := c.opened(context.Background(), base64.RawURLEncoding.EncodeToString(plain))
	return err == nil
}
