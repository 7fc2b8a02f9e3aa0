package discovery

import "rutile/internal/finding"

// Severity of a finding.
type Severity = finding.Severity

// The severities, lowest first.
const (
	Info     = finding.Info
	Low      = finding.Low
	Medium   = finding.Medium
	High     = finding.High
	Critical = finding.Critical
)

// Severities lists them, lowest first.
func Severities() []Severity { return finding.Severities() }

// Rule is why there is a finding.
type Rule string

// The rules (discovery.md 15).
const (
	AmbiguousConfig     Rule = "AMBIGUOUS_CONFIG"
	ExecutableConfig    Rule = "EXECUTABLE_CONFIG"
	Unparsable          Rule = "UNPARSABLE"
	Unpinned            Rule = "UNPINNED"
	LookalikeName       Rule = "LOOKALIKE_NAME"
	KnownVulnerable     Rule = "KNOWN_VULNERABLE"
	RegistryDeprecated  Rule = "REGISTRY_DEPRECATED"
	RegistryDeleted     Rule = "REGISTRY_DELETED"
	AutoApprove         Rule = "AUTO_APPROVE"
	BroadScope          Rule = "BROAD_SCOPE"
	BypassEntry         Rule = "BYPASS_ENTRY"
	BypassTraffic       Rule = "BYPASS_TRAFFIC"
	SharedCredential    Rule = "SHARED_CREDENTIAL"
	ClientMayReject     Rule = "CLIENT_MAY_REJECT"
	ShadowServer        Rule = "SHADOW_SERVER"
	LiteralSecret       Rule = "LITERAL_SECRET"
	SecretInArgv        Rule = "SECRET_IN_ARGV"
	SecretInURL         Rule = "SECRET_IN_URL"
	TokenCacheExposed   Rule = "TOKEN_CACHE_EXPOSED"
	OpenServer          Rule = "OPEN_SERVER"
	OriginNotChecked    Rule = "ORIGIN_NOT_CHECKED"
	PoisonedCard        Rule = "POISONED_CARD"
	UnsupportedClient   Rule = "UNSUPPORTED_CLIENT"
	OrphanServer        Rule = "ORPHAN_SERVER"
	OrphanAgent         Rule = "ORPHAN_AGENT"
	UnregisteredTraffic Rule = "UNREGISTERED_TRAFFIC"
	Reappeared          Rule = "REAPPEARED"
	StaleReview         Rule = "STALE_REVIEW"
	UnusedServer        Rule = "UNUSED_SERVER"
	UndecidedServer     Rule = "UNDECIDED_SERVER"
	Drifted             Rule = "DRIFTED"
)

// Finding is one thing that is wrong in one place: there is one for each rule,
// canonical key and place, however often it is seen.
type Finding struct {
	ID       string   `json:"id"`               // the same in every run
	Source   string   `json:"source,omitempty"` // "" where it follows from what was compared
	User     string   `json:"user,omitempty"`
	Rule     Rule     `json:"rule"`
	Severity Severity `json:"severity"`
	Key      string   `json:"key,omitempty"` // of the server it is about
	Place    Place    `json:"place"`
	Why      string   `json:"why"`
	Evidence []string `json:"evidence,omitempty"` // without secrets
	Next     string   `json:"next,omitempty"`     // the command or the change that resolves it
}

// NewFinding makes a finding. why is a sentence without its full stop.
func NewFinding(rule Rule, severity Severity, key string, at Place, why, next string) Finding {
	return Finding{ID: digest("fnd", string(rule), key, at.key()), Rule: rule, Severity: severity, Key: key, Place: at, Why: why, Next: next}
}
