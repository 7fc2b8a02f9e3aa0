package discovery

// Outcome is how looking in one place ended.
type Outcome string

// The outcomes.
const (
	Read       Outcome = "read"       // seen, and searched
	Absent     Outcome = "absent"     // not there
	Denied     Outcome = "denied"     // not visible to this user
	Unreadable Outcome = "unparsable" // there, and not to be read as what it should be
	Skipped    Outcome = "skipped"    // over a bound, not a regular file, leads elsewhere
	Failed     Outcome = "failed"     // the source could not look
	Cut        Outcome = "cut"        // a bound or an interrupt ended it early
)

// Outcomes lists them.
func Outcomes() []Outcome {
	return []Outcome{Read, Absent, Denied, Unreadable, Skipped, Failed, Cut}
}

// Coverage says that a source looked in a place, and how that ended. A run that
// found nothing is worth what its coverage says.
type Coverage struct {
	Source  string  `json:"source"`
	User    string  `json:"user,omitempty"`
	Row     string  `json:"row,omitempty"` // of the table of clients
	Place   string  `json:"place"`         // as it may be shown
	Outcome Outcome `json:"outcome"`
	Why     string  `json:"why,omitempty"`
	Entries int     `json:"entries,omitempty"` // servers named there
}

// Counts is how many places ended how.
type Counts map[Outcome]int

// Credential is a secret that is kept somewhere: what it is called and where,
// never what it is.
type Credential struct {
	Name  string     `json:"name"`
	Kind  SecretKind `json:"kind"`
	Shape string     `json:"shape,omitempty"`
	Place Place      `json:"place"`
	User  string     `json:"user,omitempty"`
	Where string     `json:"where"` // env, header, argument, url, field, cache
	// UsedBy are the canonical keys of the servers that are given it.
	UsedBy []string `json:"usedBy,omitempty"`
	Mode   string   `json:"mode,omitempty"` // of a token cache, such as 0600
	Age    int      `json:"age,omitempty"`  // days since a token cache was written
}

// Agent is a client a person of this machine uses.
type Agent struct {
	Client string `json:"client"`
	Name   string `json:"name"`
	Home   string `json:"home"` // whose: ~ or what the home is called
	User   string `json:"user,omitempty"`
	// Supported is false for what its maker no longer looks after.
	Supported bool `json:"supported"`
}
