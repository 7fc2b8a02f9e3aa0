package signal

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// The types of events begin with these (CAEP 1.0, RISC 1.0, SSF 1.0).
const (
	caep = "https://schemas.openid.net/secevent/caep/event-type/"
	risc = "https://schemas.openid.net/secevent/risc/event-type/"
	ssf  = "https://schemas.openid.net/secevent/ssf/event-type/"
)

// Event is one thing that a source says has happened.
type Event struct {
	ID      string          `json:"jti"`
	Type    string          `json:"type"` // short name
	Subject Subject         `json:"subject"`
	At      time.Time       `json:"at"`
	Data    json.RawMessage `json:"data,omitempty"` // of the event
}

// What an event asks for.
const (
	Revoke  = "revoke"  // end sessions, tokens, grants and calls
	Suspend = "suspend" // revoke, and keep out until a person lets them in
	Raise   = "finding" // a person is to look
	Clear   = "clear"   // what was raised before is so no more
	Note    = "note"    // it is recorded
)

// Meaning is what an event comes to.
type Meaning struct {
	Does string // one of those above
	// Rule is that of the finding it raises or clears, "" for none.
	Rule string
	High bool // the finding is high, else medium
	Why  string
}

// The short names of events. Those of CAEP and RISC that are the same are one.
const (
	SessionRevoked    = "session-revoked"
	CredentialChange  = "credential-change"
	ClaimsChange      = "token-claims-change"
	AssuranceChange   = "assurance-level-change"
	DeviceCompliance  = "device-compliance-change"
	RiskChange        = "risk-level-change"
	AccountDisabled   = "account-disabled"
	AccountEnabled    = "account-enabled"
	AccountPurged     = "account-purged"
	SessionsRevoked   = "sessions-revoked"
	ChangeRequired    = "account-credential-change-required"
	Compromised       = "credential-compromise"
	IdentifierChanged = "identifier-changed"
	Recycled          = "identifier-recycled"
	RecoveryActivated = "recovery-activated"
	Verification      = "verification"   // of the stream itself
	StreamUpdated     = "stream-updated" // the same
)

var types = map[string]string{ //nolint:gochecknoglobals // a table
	SessionRevoked: caep, CredentialChange: caep, ClaimsChange: caep, AssuranceChange: caep, DeviceCompliance: caep, RiskChange: caep,
	AccountDisabled: risc, AccountEnabled: risc, AccountPurged: risc, SessionsRevoked: risc, ChangeRequired: risc, Compromised: risc,
	IdentifierChanged: risc, Recycled: risc, RecoveryActivated: risc,
	Verification: ssf, StreamUpdated: ssf,
}

// Events lists the short names of events that a source may be asked for, sorted.
func Events() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(types)), func(n string) bool { return types[n] == ssf })
}

// TypeOf is the type of an event by its short name, "" for none.
func TypeOf(name string) string {
	if types[name] == "" {
		return ""
	}
	return types[name] + name
}

// nameOf is the short name of a type, "" for one that is not known.
func nameOf(typ string) string {
	name := typ[strings.LastIndexByte(typ, '/')+1:]
	if TypeOf(name) != typ {
		return ""
	}
	return name
}

// MeaningOf says what an event comes to, by the words it may say it with. What an event
// does not say is taken for the worse.
func MeaningOf(e *Event) Meaning {
	var d struct {
		Change    string `json:"change_type"`
		Direction string `json:"change_direction"`
		Status    string `json:"current_status"`
		Level     string `json:"current_level"`
	}
	if json.Unmarshal(e.Data, &d) != nil { // words of other kinds than text
		d.Change, d.Direction, d.Status, d.Level = "", "", "", ""
	}
	m := Meaning{Does: Revoke}
	switch e.Type {
	case AccountDisabled, AccountPurged:
		m.Does = Suspend
	case Compromised:
		m.Rule, m.High, m.Why = "signal.credential", true, "a credential is said to be compromised"
	case CredentialChange:
		if d.Change == "create" || d.Change == "update" {
			m = Meaning{Does: Note}
		}
	case AssuranceChange:
		if d.Direction == "increase" {
			m = Meaning{Does: Note}
		}
	case DeviceCompliance:
		m.Rule, m.Why = "signal.device", "a device is said not to be compliant"
		if d.Status == "compliant" {
			m.Does = Clear
		}
	case RiskChange:
		m.Rule, m.High, m.Why = "signal.risk", true, "the risk is said to be high"
		switch strings.ToUpper(d.Level) {
		case "LOW":
			m.Does = Clear
		case "MEDIUM":
			m.Does, m.High, m.Why = Raise, false, "the risk is said to be medium"
		}
	case AccountEnabled:
		m = Meaning{Does: Raise, Rule: "signal.account", Why: "an account is said to be enabled again; whoever was suspended here stays so until a person resumes them"}
	case IdentifierChanged, Recycled:
		m = Meaning{Does: Raise, Rule: "signal.identifier", High: e.Type == Recycled, Why: "what a person is known by is said to have changed: look whether a User names it"}
	case RecoveryActivated:
		m = Meaning{Does: Raise, Rule: "signal.recovery", Why: "the recovery of an account is said to be under way"}
	case SessionRevoked, SessionsRevoked, ClaimsChange, ChangeRequired:
	default:
		m = Meaning{Does: Note}
	}
	return m
}
