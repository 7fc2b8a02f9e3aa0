package inventory

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"rutile/internal/access"
)

// DeviceState is what a device may do.
type DeviceState string

// The states. Whatever else a row says may not report.
const (
	DeviceInvited DeviceState = "invited" // a token was given out for it
	DeviceActive  DeviceState = "active"
	DeviceRevoked DeviceState = "revoked"
)

// Device is a machine that may report what it finds.
type Device struct {
	ID    string      `json:"id"`
	Label string      `json:"label"` // what the operator calls it
	State DeviceState `json:"state"`
	// Public is the key of the device, or while it is invited that of its token.
	Public string `json:"public"`
	// Named lets it say what its host is called; else it is a pseudonym.
	Named    bool      `json:"named,omitempty"`
	Host     string    `json:"host,omitempty"`
	By       string    `json:"by"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"` // of the token
	Enrolled time.Time `json:"enrolled,omitzero"`
	Revoked  time.Time `json:"revoked,omitzero"`
	RevokeBy string    `json:"revokedBy,omitempty"`
	Sequence uint64    `json:"sequence,omitempty"` // of the newest batch
	Rev      uint64    `json:"rev"`
}

// FleetStore keeps devices.
type FleetStore interface {
	// Devices returns all of them sorted by id.
	Devices(ctx context.Context) ([]Device, error)
	// Device returns one.
	Device(ctx context.Context, id string) (d Device, ok bool, err error)
	// PutDevice writes d if its row is at d.Rev, with the leaf it owes; else it is an
	// access.CodeConflict error. It leaves the sequence alone.
	PutDevice(ctx context.Context, d Device, owed access.Owed) error
}

// Signatures are over these words and what follows, so that nothing signed for one
// use serves another.
const (
	signsEnrolment = "rutile-device-enrolment/1\n"
	signsBatch     = "rutile-device-batch/1\n"
)

// PrefixDevice begins the id of a device, prefixToken a token that enrols one.
const (
	PrefixDevice = "dev_"
	prefixToken  = "rde_"
)

var deviceID = regexp.MustCompile(`^dev_[0-9A-HJKMNP-TV-Z]{26}$`)

// NewToken makes a token that enrols one device once. It is a private key: what
// the gateway keeps of it, public, enrols nothing.
func NewToken(device string) (token, public string, err error) {
	pub, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", "", err
	}
	return prefixToken + device + "." + base64.RawURLEncoding.EncodeToString(private.Seed()), encode(pub), nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decodeKey(s string, size int) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil && len(b) == size
}

// Identity is what a device keeps to itself: its key, and what it is at one
// gateway.
type Identity struct {
	Gateway  string `json:"gateway"` // address
	Device   string `json:"device"`
	Seed     string `json:"seed"` // of its key, a secret
	Named    bool   `json:"named,omitempty"`
	Sequence uint64 `json:"sequence"`
}

// HostOf is the pseudonym of the machine with a device key.
func HostOf(public string) string {
	sum := sha256.Sum256([]byte(public))
	return "hst_" + hex.EncodeToString(sum[:])[:16]
}

// Enrolment asks that a key becomes a device's. Both the token and the key sign it.
type Enrolment struct {
	Device  string    `json:"device"`
	Gateway string    `json:"gateway"`
	Key     string    `json:"key"` // public
	At      time.Time `json:"at"`
}

// SignedEnrolment is an enrolment as it travels.
type SignedEnrolment struct {
	Request  []byte `json:"request"`
	ByToken  string `json:"byToken"`
	ByDevice string `json:"byDevice"`
}

// Enrol makes a device key and the request that redeems a token with it.
func Enrol(token, gateway string, now time.Time) (Identity, SignedEnrolment, error) {
	bad := access.Errorf(access.CodeInvalid, "this is no token that enrols a machine: rutile inventory enroll NAME prints one, which begins with %s", prefixToken)
	rest, ok := strings.CutPrefix(strings.TrimSpace(token), prefixToken)
	device, seed, ok2 := strings.Cut(rest, ".")
	raw, ok3 := decodeKey(seed, ed25519.SeedSize)
	if !ok || !ok2 || !ok3 || !deviceID.MatchString(device) {
		return Identity{}, SignedEnrolment{}, bad
	}
	pub, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return Identity{}, SignedEnrolment{}, err
	}
	request, err := json.Marshal(Enrolment{Device: device, Gateway: gateway, Key: encode(pub), At: now.UTC()})
	if err != nil {
		return Identity{}, SignedEnrolment{}, err
	}
	signed := append([]byte(signsEnrolment), request...)
	return Identity{Gateway: gateway, Device: device, Seed: encode(private.Seed())},
		SignedEnrolment{Request: request, ByToken: encode(ed25519.Sign(ed25519.NewKeyFromSeed(raw), signed)), ByDevice: encode(ed25519.Sign(private, signed))}, nil
}

// Read checks that an enrolment is signed by the token with this public key and by
// the key it names.
func (s *SignedEnrolment) Read(tokenOf func(device string) (public string, ok bool)) (Enrolment, error) {
	refused := access.Errorf(access.CodeDenied, "the enrolment token does not count: it was used, has expired or was never given out here; ask for a new one from rutile inventory enroll")
	var e Enrolment
	d := json.NewDecoder(bytes.NewReader(s.Request))
	d.DisallowUnknownFields()
	if d.Decode(&e) != nil || !deviceID.MatchString(e.Device) {
		return Enrolment{}, refused
	}
	public, ok := tokenOf(e.Device)
	if !ok || !verified(public, signsEnrolment, s.Request, s.ByToken) || !verified(e.Key, signsEnrolment, s.Request, s.ByDevice) {
		return Enrolment{}, refused
	}
	return e, nil
}

func verified(public, use string, text []byte, signature string) bool {
	key, ok := decodeKey(public, ed25519.PublicKeySize)
	sig, ok2 := decodeKey(signature, ed25519.SignatureSize)
	return ok && ok2 && ed25519.Verify(key, append([]byte(use), text...), sig)
}

// Sign makes a batch the device's and returns its bytes and their signature. The
// sequence grows.
func (i *Identity) Sign(b Batch, now time.Time) (raw []byte, signature string, err error) {
	seed, ok := decodeKey(i.Seed, ed25519.SeedSize)
	if !ok {
		return nil, "", access.Errorf(access.CodeInvalid, "the key of this machine cannot be read: enrol it anew")
	}
	private := ed25519.NewKeyFromSeed(seed)
	public := encode(private.Public().(ed25519.PublicKey))
	i.Sequence = max(i.Sequence+1, uint64(max(now.UnixMicro(), 1)))
	b.Device, b.Audience, b.Sequence, b.Host = i.Device, i.Gateway, i.Sequence, HostOf(public)
	if !i.Named {
		b.Name = ""
	}
	if raw, err = json.Marshal(b); err != nil {
		return nil, "", err
	}
	return raw, encode(ed25519.Sign(private, append([]byte(signsBatch), raw...))), nil
}

// Signed reports whether the bytes of a batch are signed by a device.
func (d *Device) Signed(raw []byte, signature string) bool {
	return d.State == DeviceActive && verified(d.Public, signsBatch, raw, signature)
}

// ValidDevice reports whether s can be the id of a device.
func ValidDevice(s string) bool { return deviceID.MatchString(s) }
