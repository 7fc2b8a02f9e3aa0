package signin

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"rutile/internal/access"
)

// Passkeys makes passkeys and checks what is signed with them (Web Authentication,
// Level 3). It is safe for concurrent use.
type Passkeys struct {
	party  *webauthn.WebAuthn
	origin string
	store  Store
	sealer Sealer
	now    func() time.Time
}

// Origin is where passkeys work: the origin of the address people use, or, where that is
// an IP address of this machine, the same port of localhost, because an IP address can
// be no relying party. It fails with CodeUnsupported and says why where neither can be.
func Origin(public, local string) (string, error) {
	for _, address := range []string{public, local} {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" {
			continue
		}
		ip := net.ParseIP(u.Hostname())
		switch {
		case ip != nil && ip.IsLoopback() && address == local:
			return u.Scheme + "://" + net.JoinHostPort("localhost", u.Port()), nil
		case ip != nil:
		case u.Scheme == "https" || u.Hostname() == "localhost":
			return u.Scheme + "://" + u.Host, nil
		}
	}
	return "", access.Errorf(access.CodeUnsupported, "passkeys need an address with a name and TLS: write one as urls.operators, such as https://rutile.example.com (an IP address cannot have passkeys)")
}

// NewPasskeys returns the passkeys of an origin that Origin returned.
func NewPasskeys(origin string, store Store, sealer Sealer, now func() time.Time) (*Passkeys, error) {
	u, err := url.Parse(origin)
	if err != nil || store == nil || sealer == nil || now == nil {
		return nil, errors.New("signin: a dependency is missing")
	}
	party, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: "Rutile", RPOrigins: []string{origin}, AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(), UserVerification: protocol.VerificationRequired,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("signin: %w", err)
	}
	return &Passkeys{party: party, origin: origin, store: store, sealer: sealer, now: now}, nil
}

// Origin is where they work.
func (p *Passkeys) Origin() string { return p.origin }

// Asked is a challenge that was given out. It MUST be answered at most once.
type Asked struct {
	data webauthn.SessionData
	user string
}

// passkey is what a row of one holds.
type passkey struct {
	Handle []byte              `json:"handle"` // of its user, the same for all of theirs
	Cred   webauthn.Credential `json:"credential"`
}

// holder is a user with their passkeys, as the library reads them.
type holder struct {
	user   string
	handle []byte
	rows   []Row
	creds  []webauthn.Credential
}

func (h *holder) WebAuthnID() []byte                         { return h.handle }
func (h *holder) WebAuthnName() string                       { return h.user }
func (h *holder) WebAuthnDisplayName() string                { return h.user }
func (h *holder) WebAuthnCredentials() []webauthn.Credential { return h.creds }

// holder reads the passkeys of a user that are among those named.
func (p *Passkeys) holder(ctx context.Context, user string, named []string) (*holder, error) {
	rows, err := p.store.FactorsOf(ctx, user)
	if err != nil {
		return nil, err
	}
	h := &holder{user: user}
	for _, r := range rows {
		if r.Kind != KindPasskey || !slices.Contains(named, r.ID) {
			continue
		}
		if err := p.add(ctx, h, r); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (p *Passkeys) add(ctx context.Context, h *holder, r Row) error {
	var k passkey
	if err := open(ctx, p.sealer, &r, &k); err != nil {
		return err
	}
	if len(h.handle) > 0 && !bytes.Equal(h.handle, k.Handle) {
		return nil // of an earlier life of the id; nobody finds it by the handle there is
	}
	k.Cred.Authenticator.SignCount = uint32(max(0, r.Counter)) //nolint:gosec // it was one when it was kept
	h.handle, h.rows, h.creds = k.Handle, append(h.rows, r), append(h.creds, k.Cred)
	return nil
}

// AskToMake asks for a new passkey of a user who has those named. It returns what the
// browser is given.
func (p *Passkeys) AskToMake(ctx context.Context, user string, named []string) (options []byte, a Asked, err error) {
	h, err := p.holder(ctx, user, named)
	if err != nil {
		return nil, a, err
	}
	if h.handle == nil {
		h.handle = random(32)
	}
	var have []protocol.CredentialDescriptor
	for _, c := range h.creds {
		have = append(have, c.Descriptor())
	}
	creation, data, err := p.party.BeginRegistration(h, webauthn.WithExclusions(have), webauthn.WithCredentialParameters(webauthn.CredentialParametersRecommendedL3()))
	if err != nil {
		return nil, a, fmt.Errorf("asking for a passkey: %w", err)
	}
	options, err = json.Marshal(creation.Response)
	return options, Asked{*data, user}, err
}

// Made checks the answer and keeps the passkey as a row, which counts for nobody yet.
// key names its public key in evidence.
func (p *Passkeys) Made(ctx context.Context, a Asked, answer []byte) (r Row, key string, err error) {
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return r, "", unreadable(err)
	}
	c, err := p.party.CreateCredential(&holder{user: a.user, handle: a.data.UserID}, a.data, parsed)
	if err != nil {
		return r, "", access.Errorf(access.CodeDenied, "this passkey does not count: %w", refusedFor(err))
	}
	der, err := publicKey(c.PublicKey)
	if err != nil {
		return r, "", access.Errorf(access.CodeDenied, "this passkey does not count: %w", err)
	}
	c.Attestation = webauthn.CredentialAttestation{} // nothing is asked of it, and nothing kept
	r = Row{ID: newID(), User: a.user, Kind: KindPasskey, Credential: base64.RawURLEncoding.EncodeToString(c.ID), Counter: int64(c.Authenticator.SignCount), Used: p.now()}
	if err := seal(ctx, p.sealer, &r, passkey{a.data.UserID, *c}); err != nil {
		return r, "", err
	}
	return r, keyName(der), p.store.PutFactor(ctx, r)
}

// AskToSignIn asks whoever it is to sign in with a passkey they choose.
func (p *Passkeys) AskToSignIn() (options []byte, a Asked, err error) {
	assertion, data, err := p.party.BeginDiscoverableLogin()
	if err != nil {
		return nil, a, fmt.Errorf("asking for a passkey: %w", err)
	}
	options, err = json.Marshal(assertion.Response)
	return options, Asked{data: *data}, err
}

// AskToSign asks a user to sign a challenge with one of the passkeys named.
func (p *Passkeys) AskToSign(ctx context.Context, user string, named []string, challenge []byte) (options []byte, a Asked, err error) {
	h, err := p.holder(ctx, user, named)
	if err != nil {
		return nil, a, err
	}
	if len(h.creds) == 0 {
		return nil, a, access.Errorf(access.CodeDenied, "user %q has no passkey", user)
	}
	assertion, data, err := p.party.BeginLogin(h, webauthn.WithChallenge(challenge))
	if err != nil {
		return nil, a, fmt.Errorf("asking for a signature: %w", err)
	}
	options, err = json.Marshal(assertion.Response)
	return options, Asked{*data, user}, err
}

// Proof is an answer that counts: who gave it, with what, and what was signed, but for
// what that stands for.
type Proof struct {
	User      string
	Factor    string
	Assertion access.Assertion
}

// Check checks an answer to AskToSignIn or AskToSign. Whatever does not count is
// ErrRefused, with why for the log alone.
func (p *Passkeys) Check(ctx context.Context, a Asked, answer []byte) (Proof, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return Proof{}, unreadable(err)
	}
	id := base64.RawURLEncoding.EncodeToString(parsed.RawID)
	row, ok, err := p.store.FactorOfCredential(ctx, id)
	if err != nil {
		return Proof{}, err
	}
	if !ok || row.Kind != KindPasskey || a.user != "" && row.User != a.user {
		return Proof{}, fmt.Errorf("%w: the passkey is not known", ErrRefused)
	}
	h := &holder{user: row.User}
	if err := p.add(ctx, h, row); err != nil {
		return Proof{}, err
	}
	c, err := p.validate(a, h, parsed)
	if err != nil {
		return Proof{}, err
	}
	proof := Proof{User: row.User, Factor: row.ID}
	if c.Authenticator.CloneWarning {
		return proof, ErrCopied
	}
	grew, err := p.store.AdvanceFactor(ctx, row.ID, int64(parsed.Response.AuthenticatorData.Counter), p.now())
	if err != nil {
		return Proof{}, err
	}
	if !grew {
		return proof, ErrCopied
	}
	der, err := publicKey(c.PublicKey)
	if err != nil {
		return Proof{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	proof.Assertion = access.Assertion{
		Key: der, AuthenticatorData: parsed.Raw.AssertionResponse.AuthenticatorData,
		ClientData: parsed.Raw.AssertionResponse.ClientDataJSON, Signature: parsed.Raw.AssertionResponse.Signature,
	}
	return proof, nil
}

// validate has the library check an answer. Where nobody in particular was asked, the
// answer says who, and what it says must be whose the passkey is.
func (p *Passkeys) validate(a Asked, h *holder, parsed *protocol.ParsedCredentialAssertionData) (*webauthn.Credential, error) {
	var c *webauthn.Credential
	var err error
	if a.user == "" {
		_, c, err = p.party.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
			if !bytes.Equal(handle, h.handle) {
				return nil, ErrRefused
			}
			return h, nil
		}, a.data, parsed)
	} else {
		one := a.data
		one.AllowedCredentialIDs = nil // which are all of the user's; only the one that answered was read
		if !slices.ContainsFunc(a.data.AllowedCredentialIDs, func(id []byte) bool { return bytes.Equal(id, parsed.RawID) }) {
			return nil, fmt.Errorf("%w: it is none of those that were asked for", ErrRefused)
		}
		c, err = p.party.ValidateLogin(h, one, parsed)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, refusedFor(err))
	}
	return c, nil
}

// refusedFor is what the library says of a refusal, with its details.
func refusedFor(err error) error {
	var e *protocol.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%s %s", e.Details, e.DevInfo)
	}
	return err
}

func unreadable(err error) error {
	return fmt.Errorf("%w: %w", ErrRefused, refusedFor(err))
}
