// Package signintest is an authenticator for tests: it makes and uses passkeys as a
// browser with a device would, and does what an honest one never does.
package signintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"
)

// Device holds one passkey. Its fields may be changed between uses.
type Device struct {
	tb     testing.TB
	Origin string
	Party  string // id of the relying party
	ID     []byte
	Handle []byte
	Count  uint32
	Step   uint32 // how much Count grows with each use; 0 is a device that does not count
	Flags  byte   // of the authenticator data besides the attested credential's
	key    *ecdsa.PrivateKey
}

// Flags of authenticator data.
const (
	Present  = 0x01
	Verified = 0x04
	attested = 0x40
)

// New returns a device of an origin, without a passkey.
func New(tb testing.TB, origin, party string) *Device {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	id := make([]byte, 32)
	_, _ = rand.Read(id)
	return &Device{tb: tb, Origin: origin, Party: party, ID: id, Step: 1, Flags: Present | Verified, key: key}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// asked is what both kinds of options hold.
type asked struct {
	Challenge string `json:"challenge"`
	User      struct {
		ID string `json:"id"`
	} `json:"user"`
}

func (d *Device) read(options []byte) asked {
	d.tb.Helper()
	var a asked
	if err := json.Unmarshal(options, &a); err != nil || a.Challenge == "" {
		d.tb.Fatalf("these are no options: %s, %v", options, err)
	}
	return a
}

func (d *Device) client(kind, challenge string) []byte {
	b, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": d.Origin, "crossOrigin": false})
	if err != nil {
		d.tb.Fatal(err)
	}
	return b
}

// data is authenticator data without a credential (section 6.1).
func (d *Device) data(more byte) []byte {
	party := sha256.Sum256([]byte(d.Party))
	b := append(party[:], d.Flags|more)
	return binary.BigEndian.AppendUint32(b, d.Count)
}

// text and octets are CBOR strings, short or of two length bytes.
func text(s string) []byte { return append([]byte{0x60 | byte(len(s))}, s...) }

func octets(b []byte) []byte {
	return append([]byte{0x59, byte(len(b) >> 8), byte(len(b))}, b...)
}

// Make answers options that ask for a passkey.
func (d *Device) Make(options []byte) []byte {
	d.tb.Helper()
	a := d.read(options)
	handle, err := base64.RawURLEncoding.DecodeString(a.User.ID)
	if err != nil {
		d.tb.Fatal(err)
	}
	d.Handle = handle
	public, err := d.key.PublicKey.Bytes()
	if err != nil {
		d.tb.Fatal(err)
	}
	cose := []byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21}
	cose = append(append(cose, 0x58, 32), public[1:33]...)
	cose = append(append(cose, 0x22, 0x58, 32), public[33:]...)
	data := append(d.data(attested), make([]byte, 16)...) // of no known model
	data = binary.BigEndian.AppendUint16(data, uint16(len(d.ID)))
	data = append(append(data, d.ID...), cose...)
	object := append([]byte{0xa3}, text("fmt")...)
	object = append(append(object, text("none")...), text("attStmt")...)
	object = append(append(object, 0xa0), text("authData")...)
	object = append(object, octets(data)...)
	return d.answer(map[string]string{"clientDataJSON": encode(d.client("webauthn.create", a.Challenge)), "attestationObject": encode(object)})
}

// Use answers options that ask for a signature.
func (d *Device) Use(options []byte) []byte {
	d.tb.Helper()
	a := d.read(options)
	d.Count += d.Step
	data, client := d.data(0), d.client("webauthn.get", a.Challenge)
	sum := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte{}, data...), sum[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, d.key, digest[:])
	if err != nil {
		d.tb.Fatal(err)
	}
	return d.answer(map[string]string{"clientDataJSON": encode(client), "authenticatorData": encode(data), "signature": encode(signature), "userHandle": encode(d.Handle)})
}

func (d *Device) answer(response map[string]string) []byte {
	b, err := json.Marshal(map[string]any{"id": encode(d.ID), "rawId": encode(d.ID), "type": "public-key", "clientExtensionResults": map[string]any{}, "response": response})
	if err != nil {
		d.tb.Fatal(err)
	}
	return b
}
