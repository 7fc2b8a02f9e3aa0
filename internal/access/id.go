package access

import (
	"crypto/rand"
	"regexp"

	"github.com/oklog/ulid/v2"
)

// Prefixes of the ids Rutile makes. What a person names has its manifest id.
const (
	PrefixDecision = "dec_"
	PrefixSession  = "ses_"
	PrefixRequest  = "req_"
	PrefixGrant    = "grt_"
	PrefixChange   = "chg_"
)

// NewID returns prefix and a ULID: sortable by time, 80 random bits.
func NewID(prefix string) string {
	return prefix + ulid.MustNew(ulid.Now(), rand.Reader).String()
}

// OwnServer is the reserved id of the gateway's own tools: a server without an
// entry in the store, which no manifest may name.
const OwnServer = "rutile"

var manifestID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// ValidID reports whether s may name an agent, server, team, policy or
// entitlement: [a-z0-9][a-z0-9-]{0,62}.
func ValidID(s string) bool { return manifestID.MatchString(s) }
