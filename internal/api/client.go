package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// maxAnswer bounds an answer that is held in memory.
const maxAnswer = 256 << 20

// Client calls the API. Its errors are what the gateway said, or a
// CodeUnavailable error if it does not answer.
type Client struct {
	base  string
	token string
	where string // for messages
	hint  string
	http  *http.Client
}

// NewSocketClient calls the gateway on this machine; hint is how to start it.
func NewSocketClient(socket, hint string) *Client {
	var d net.Dialer
	return &Client{base: "http://rutile", where: socket, hint: hint, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
	}}}
}

// NewClient calls a gateway at its operators' address with the operator token
// or a personal one.
func NewClient(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, access.Errorf(access.CodeUsage, "%q is not the address of a gateway such as http://127.0.0.1:7434", base)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, access.Errorf(access.CodeUsage, "the token would travel to %s in clear: use https", u.Host)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	return &Client{base: strings.TrimSuffix(base, "/"), token: token, where: base, hint: "check the address and that the gateway runs", http: &http.Client{
		Transport: t,
		// The token is for one host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// send makes one request. The caller closes the body.
func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/api/v1/"+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, c.unreachable(err)
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		b, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
		if err != nil {
			return nil, c.unreachable(err)
		}
		return nil, errorOf(res.StatusCode, b)
	}
	return res, nil
}

func (c *Client) unreachable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &access.Error{Code: access.CodeDenied, Err: err, Msg: "you may not open " + c.where + ": run this as the user who runs the gateway, or set RUTILE_URL and RUTILE_TOKEN_FILE to use the operators' address"}
	}
	var op *net.OpError
	why := err
	if errors.As(err, &op) {
		why = op.Err
	}
	return &access.Error{Code: access.CodeUnavailable, Msg: "the gateway does not answer at " + c.where + " (" + why.Error() + "); " + c.hint, Err: err}
}

func (c *Client) body(ctx context.Context, method, path string, in any) ([]byte, error) {
	res, err := c.send(ctx, method, path, in)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(err)
	}
	return b, nil
}

func ask[T any](ctx context.Context, c *Client, method, path string, in any) (T, error) {
	var out T
	b, err := c.body(ctx, method, path, in)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, &access.Error{Code: access.CodeUnavailable, Msg: "what answers at " + c.where + " is not this version of rutile", Err: err}
	}
	return out, nil
}

// ListOptions select a page of a list. Empty members do not restrict.
type ListOptions struct {
	State, Server, Kind, Cursor string
	Limit                       int
}

func (o ListOptions) query() string {
	return queryOf(map[string]string{"state": o.State, "server": o.Server, "kind": o.Kind, "cursor": o.Cursor}, o.Limit)
}

// queryOf writes the parameters of a list, those that say something.
func queryOf(words map[string]string, limit int) string {
	v := url.Values{}
	for k, s := range words {
		if s != "" {
			v.Set(k, s)
		}
	}
	if limit != 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// Status asks the gateway about itself.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, "GET", "status", nil)
}

// Doctor lets the gateway look at itself.
func (c *Client) Doctor(ctx context.Context) (Checks, error) {
	return ask[Checks](ctx, c, "GET", "doctor", nil)
}

// Apply brings the declared objects to the stated form.
func (c *Client) Apply(ctx context.Context, docs []admin.Document) (Applied, error) {
	return ask[Applied](ctx, c, "POST", "apply", Manifests{docs})
}

// Diff says what Apply would do.
func (c *Client) Diff(ctx context.Context, docs []admin.Document) (Applied, error) {
	return ask[Applied](ctx, c, "POST", "diff", Manifests{docs})
}

// Export returns the state as manifests.
func (c *Client) Export(ctx context.Context) (Export, error) {
	return ask[Export](ctx, c, "GET", "export", nil)
}

// Agents lists agents.
func (c *Client) Agents(ctx context.Context, o ListOptions) (Page[Agent], error) {
	return ask[Page[Agent]](ctx, c, "GET", "agents"+o.query(), nil)
}

// Agent returns one agent.
func (c *Client) Agent(ctx context.Context, id string) (Agent, error) {
	return ask[Agent](ctx, c, "GET", "agents/"+url.PathEscape(id), nil)
}

// CreateAgent registers an agent.
func (c *Client) CreateAgent(ctx context.Context, spec admin.AgentSpec) (Agent, error) {
	return ask[Agent](ctx, c, "POST", "agents", spec)
}

// ChangeAgent changes the state of an agent.
func (c *Client) ChangeAgent(ctx context.Context, id string, verb registry.Verb, why string) (Agent, error) {
	return ask[Agent](ctx, c, "POST", "agents/"+url.PathEscape(id)+"/"+string(verb), Reason{why})
}

// Token issues a development token.
func (c *Client) Token(ctx context.Context, agent string, spec TokenSpec) (Token, error) {
	return ask[Token](ctx, c, "POST", "agents/"+url.PathEscape(agent)+"/token", spec)
}

// Invite makes an enrollment code for an agent.
func (c *Client) Invite(ctx context.Context, agent string, spec InviteSpec) (admin.Invitation, error) {
	return ask[admin.Invitation](ctx, c, "POST", "agents/"+url.PathEscape(agent)+"/enroll", spec)
}

// Unenroll removes enrolled keys of an agent.
func (c *Client) Unenroll(ctx context.Context, agent string, spec UnenrollSpec) (Agent, error) {
	return ask[Agent](ctx, c, "POST", "agents/"+url.PathEscape(agent)+"/unenroll", spec)
}

// Users lists people.
func (c *Client) Users(ctx context.Context, o ListOptions) (Page[User], error) {
	return ask[Page[User]](ctx, c, "GET", "users"+o.query(), nil)
}

// User returns one person.
func (c *Client) User(ctx context.Context, id string) (User, error) {
	return ask[User](ctx, c, "GET", "users/"+url.PathEscape(id), nil)
}

// ChangeUser changes the state of a person.
func (c *Client) ChangeUser(ctx context.Context, id string, verb registry.Verb, why string) (User, error) {
	return ask[User](ctx, c, "POST", "users/"+url.PathEscape(id)+"/"+string(verb), Reason{why})
}

// UserTokens lists the personal tokens of a person.
func (c *Client) UserTokens(ctx context.Context, id string) (UserTokens, error) {
	return ask[UserTokens](ctx, c, "GET", "users/"+url.PathEscape(id)+"/tokens", nil)
}

// CreateUserToken makes a personal token.
func (c *Client) CreateUserToken(ctx context.Context, id string, spec UserTokenSpec) (admin.NewUserToken, error) {
	return ask[admin.NewUserToken](ctx, c, "POST", "users/"+url.PathEscape(id)+"/tokens", spec)
}

// RevokeUserToken ends a personal token.
func (c *Client) RevokeUserToken(ctx context.Context, id, token, why string) error {
	_, err := ask[Done](ctx, c, "POST", "users/"+url.PathEscape(id)+"/tokens/"+url.PathEscape(token)+"/revoke", Reason{why})
	return err
}

// Servers lists servers.
func (c *Client) Servers(ctx context.Context, o ListOptions) (Page[Server], error) {
	return ask[Page[Server]](ctx, c, "GET", "servers"+o.query(), nil)
}

// Server returns one server.
func (c *Client) Server(ctx context.Context, id string) (Server, error) {
	return ask[Server](ctx, c, "GET", "servers/"+url.PathEscape(id), nil)
}

// ChangeServer changes the state of a server.
func (c *Client) ChangeServer(ctx context.Context, id string, verb registry.Verb, why string) (ServerChange, error) {
	return ask[ServerChange](ctx, c, "POST", "servers/"+url.PathEscape(id)+"/"+string(verb), Reason{why})
}

// Tools lists definitions.
func (c *Client) Tools(ctx context.Context, o ListOptions) (Page[Tool], error) {
	return ask[Page[Tool]](ctx, c, "GET", "tools"+o.query(), nil)
}

func toolPath(server, verb string, kind registry.Kind, name string) string {
	return "tools/" + url.PathEscape(server) + "/" + verb + "?" + url.Values{"name": {name}, "kind": {string(kind)}}.Encode()
}

// Tool returns one definition with its text.
func (c *Client) Tool(ctx context.Context, server string, kind registry.Kind, name string) (Tool, error) {
	return ask[Tool](ctx, c, "GET", toolPath(server, "show", kind, name), nil)
}

// ToolDiff compares what is approved with what was last listed.
func (c *Client) ToolDiff(ctx context.Context, server string, kind registry.Kind, name string) (admin.ToolDiff, error) {
	return ask[admin.ToolDiff](ctx, c, "GET", toolPath(server, "diff", kind, name), nil)
}

// ChangeTool approves a definition or changes its state.
func (c *Client) ChangeTool(ctx context.Context, server string, verb registry.Verb, in ToolChange) (Tool, error) {
	return ask[Tool](ctx, c, "POST", "tools/"+url.PathEscape(server)+"/"+string(verb), in)
}

// Credentials lists credentials without their values.
func (c *Client) Credentials(ctx context.Context, o ListOptions) (Page[admin.Credential], error) {
	return ask[Page[admin.Credential]](ctx, c, "GET", "credentials"+o.query(), nil)
}

// Credential shows one credential without its value.
func (c *Client) Credential(ctx context.Context, id string) (ShownCredential, error) {
	return ask[ShownCredential](ctx, c, "GET", "credentials/"+url.PathEscape(id), nil)
}

// SetCredential seals a new credential.
func (c *Client) SetCredential(ctx context.Context, id string, spec CredentialSpec) (Sealed, error) {
	return ask[Sealed](ctx, c, "PUT", "credentials/"+url.PathEscape(id), spec)
}

// RotateCredential seals the next version of a credential.
func (c *Client) RotateCredential(ctx context.Context, id string, value []byte) (Sealed, error) {
	return ask[Sealed](ctx, c, "POST", "credentials/"+url.PathEscape(id)+"/rotate", CredentialSpec{Value: value})
}

// RewrapCredentials seals every credential anew.
func (c *Client) RewrapCredentials(ctx context.Context) (Rewrapped, error) {
	return ask[Rewrapped](ctx, c, "POST", "credentials/rewrap", nil)
}

// RemoveCredential removes a credential.
func (c *Client) RemoveCredential(ctx context.Context, id string) (RemovedCredential, error) {
	return ask[RemovedCredential](ctx, c, "DELETE", "credentials/"+url.PathEscape(id), nil)
}

// CheckPolicies checks and tests a draft against what is registered.
func (c *Client) CheckPolicies(ctx context.Context, in PolicyCheck) (policy.Report, error) {
	return ask[policy.Report](ctx, c, "POST", "policies/check", in)
}

// Explain says what would be decided about a made-up call and why.
func (c *Client) Explain(ctx context.Context, in ExplainRequest) (Explained, error) {
	return ask[Explained](ctx, c, "POST", "policies/explain", in)
}

// Search finds evidence. v holds the parameters of ParseSearch, limit and
// cursor. A search that looks at much ends before it is whole: see Rows.
func (c *Client) Search(ctx context.Context, v url.Values) (Rows, error) {
	return ask[Rows](ctx, c, "GET", "audit?"+v.Encode(), nil)
}

// Count says how many events match.
func (c *Client) Count(ctx context.Context, v url.Values) (Counted, error) {
	path := "audit/count"
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	return ask[Counted](ctx, c, "GET", path, nil)
}

// Tail calls each with the newest rows, oldest first, and with follow in v with
// every further one until ctx ends or the gateway stops.
func (c *Client) Tail(ctx context.Context, v url.Values, each func(audit.Row) error) error {
	res, err := c.send(ctx, "GET", "audit/tail?"+v.Encode(), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var row audit.Row
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			return c.unreachable(err)
		}
		if err := each(row); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := lines.Err(); err != nil {
		return c.unreachable(err)
	}
	return nil
}

// Leaves returns the leaves of a decision or change, or the leaf of an index.
func (c *Client) Leaves(ctx context.Context, id string) (Leaves, error) {
	return ask[Leaves](ctx, c, "GET", "audit/leaves/"+url.PathEscape(id), nil)
}

// Prove returns a proof that verifies without the gateway.
func (c *Client) Prove(ctx context.Context, id string) (Proof, error) {
	return ask[Proof](ctx, c, "GET", "audit/proofs/"+url.PathEscape(id), nil)
}

// Bundle returns the bundle of what v selects as a tar file; the caller closes
// it. v holds the parameters of ParseSearch, index, disclose and payloads.
func (c *Client) Bundle(ctx context.Context, v url.Values) (io.ReadCloser, error) {
	res, err := c.send(ctx, "GET", "audit/bundle?"+v.Encode(), nil)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// Reindex rebuilds the search index from the log.
func (c *Client) Reindex(ctx context.Context) error {
	_, err := ask[Done](ctx, c, "POST", "audit/reindex", struct{}{})
	return err
}

// Names returns the ids of agents or servers for completion, nothing if the
// gateway does not answer in time.
func (c *Client) Names(ctx context.Context, kind string, within time.Duration) []string {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	p, err := ask[Page[struct {
		ID string `json:"id"`
	}]](ctx, c, "GET", kind+"?limit=1000", nil)
	if err != nil {
		return nil
	}
	out := make([]string, len(p.Items))
	for i, x := range p.Items {
		out[i] = x.ID
	}
	return out
}

// Links lists what people connected.
func (c *Client) Links(ctx context.Context, o ListOptions) (Page[credential.Link], error) {
	return ask[Page[credential.Link]](ctx, c, "GET", "links"+o.query(), nil)
}

// OwnLinks lists what whoever calls connected.
func (c *Client) OwnLinks(ctx context.Context, o ListOptions) (Page[credential.Link], error) {
	return ask[Page[credential.Link]](ctx, c, "GET", "own/links"+o.query(), nil)
}

// DisconnectOwn ends a link of whoever calls.
func (c *Client) DisconnectOwn(ctx context.Context, id string) (Disconnected, error) {
	return ask[Disconnected](ctx, c, "DELETE", "own/links/"+url.PathEscape(id), nil)
}

// Disconnect ends a link.
func (c *Client) Disconnect(ctx context.Context, id string) (Disconnected, error) {
	return ask[Disconnected](ctx, c, "DELETE", "links/"+url.PathEscape(id), nil)
}
