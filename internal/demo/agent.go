package demo

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// agent is the scripted agent: an MCP client of the 2026-07-28 revision that
// authenticates with a key of its own (RFC 7523) and holds no other secret.
type agent struct {
	id   string
	base string // the gateway
	key  ed25519.PrivateKey
	http *http.Client
	next int
}

func newAgent(id, base string) (*agent, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the agent's key: %w", err)
	}
	return &agent{id: id, base: base, key: key, http: &http.Client{Timeout: 90 * time.Second}}, nil
}

// jwk is the agent's public key for its manifest.
func (a *agent) jwk() string {
	pub := a.key.Public().(ed25519.PublicKey)
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q,"use":"sig"}`, base64.RawURLEncoding.EncodeToString(pub))
}

// token asks the gateway for an access token to one server.
func (a *agent) token(ctx context.Context, server string) (string, error) {
	now := time.Now()
	var jti [16]byte
	_, _ = rand.Read(jti[:]) // never fails (crypto/rand)
	claims, err := json.Marshal(map[string]any{
		"iss": a.id, "sub": a.id, "aud": a.base, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"jti": base64.RawURLEncoding.EncodeToString(jti[:]),
	})
	if err != nil {
		return "", fmt.Errorf("encoding the assertion: %w", err)
	}
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(`{"alg":"EdDSA","typ":"JWT"}`)) + "." + enc.EncodeToString(claims)
	assertion := signed + "." + enc.EncodeToString(ed25519.Sign(a.key, []byte(signed)))
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"resource":              {a.base + "/mcp/" + server},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		Token string `json:"access_token"`
		Error string `json:"error_description"`
	}
	if err := a.do(req, &answer); err != nil {
		return "", err
	}
	if answer.Token == "" {
		return "", fmt.Errorf("no token: %s", answer.Error)
	}
	return answer.Token, nil
}

// answer is a tool result as the agent's model would see it.
type answer struct {
	Raw    string // the whole response
	Text   string
	Error  bool
	Tools  []string
	Denial struct {
		Decision string `json:"decision"`
		Reason   string `json:"reason"`
		Help     string `json:"help"`
	}
	Code int
}

// call calls a tool of a server through the gateway.
func (a *agent) call(ctx context.Context, server, tool string, args map[string]any) (answer, error) {
	return a.rpc(ctx, server, "tools/call", tool, map[string]any{"name": tool, "arguments": args})
}

// list lists the tools the agent is shown.
func (a *agent) list(ctx context.Context, server string) (answer, error) {
	return a.rpc(ctx, server, "tools/list", "", map[string]any{})
}

func (a *agent) rpc(ctx context.Context, server, method, name string, params map[string]any) (answer, error) {
	token, err := a.token(ctx, server)
	if err != nil {
		return answer{}, err
	}
	a.next++
	params["_meta"] = map[string]any{
		"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": map[string]any{},
		"io.modelcontextprotocol/clientInfo": map[string]any{"name": a.id, "version": "demo"},
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": a.next, "method": method, "params": params})
	if err != nil {
		return answer{}, fmt.Errorf("encoding the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+"/mcp/"+server, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for k, v := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Authorization": "Bearer " + token,
		"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": method, "Mcp-Name": name,
	} {
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	return a.read(req)
}

func (a *agent) read(req *http.Request) (answer, error) {
	var raw json.RawMessage
	if err := a.do(req, &raw); err != nil {
		return answer{}, err
	}
	var m struct {
		Result struct {
			Content []struct{ Text string }
			IsError bool
			Tools   []struct{ Name string }
			Meta    struct {
				Denial json.RawMessage `json:"io.rutile/denial"`
			} `json:"_meta"`
		}
		Error struct {
			Code    int
			Message string
		}
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	out := answer{Raw: string(raw), Error: m.Result.IsError || m.Error.Code != 0, Text: m.Error.Message, Code: m.Error.Code}
	for _, c := range m.Result.Content {
		out.Text += c.Text
	}
	for _, t := range m.Result.Tools {
		out.Tools = append(out.Tools, t.Name)
	}
	if len(m.Result.Meta.Denial) > 0 {
		if err := json.Unmarshal(m.Result.Meta.Denial, &out.Denial); err != nil {
			return answer{}, fmt.Errorf("reading the denial: %w", err)
		}
	}
	return out, nil
}

// do sends req and decodes the JSON answer, or the last event of a stream.
func (a *agent) do(req *http.Request, v any) error {
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return err
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		for line := range strings.SplitSeq(string(body), "\n") {
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				body = []byte(data)
			}
		}
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s %s answered %s: %s", req.Method, req.URL.Path, resp.Status, strings.TrimSpace(string(body[:min(len(body), 200)])))
	}
	return nil
}
