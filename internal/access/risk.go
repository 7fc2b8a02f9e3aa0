package access

import "time"

// Risk is how unusual what a caller did lately is, as policies read it: three scores
// of 0 to 100 and where the first comes from. The gate sets it; nil means that nobody
// looked, and counts as 0.
type Risk struct {
	Session int `json:"session"`
	Agent   int `json:"agent"`
	Person  int `json:"person,omitempty"` // the agent acts for
	// Model is the version of the weights, Learned of how many calls of the agent it is
	// known what is usual.
	Model   string `json:"model"`
	Learned int    `json:"learned"`
	// Young says that this is too little for statistics to bring a score to the first rung.
	Young bool `json:"young,omitempty"`
	// Top are the largest reasons for the score of the session, at most three; Without is
	// what the score would be without the first.
	Top     []RiskPoint `json:"top,omitempty"`
	Without int         `json:"without,omitempty"`
	// Of is the scorer's own: it is handed back when the call has ended.
	Of any `json:"-"`
}

// RiskPoint is one reason for a score, without anything of the call itself.
type RiskPoint struct {
	Family string `json:"family"` // rate, tool, destination, arguments, volume, hours, probing, sequence, identity or registry
	Signal string `json:"signal"` // what of it, one word
	// Points are its part of what the score is over that of who does nothing unusual.
	Points   int           `json:"points"`
	Observed float64       `json:"observed"`
	Expected float64       `json:"expected"`
	Unit     string        `json:"unit"`
	Window   time.Duration `json:"window,omitempty"` // 0 where it is about one call
	Sample   int           `json:"sample"`           // what was expected was learned from so many
	At       time.Time     `json:"at"`               // when it was seen
}

// Level says in a word how unusual the session and its agent are: "" where nothing asks
// for anything, then medium from 60, high from 75 and critical from 90, as the finding of it.
func (r *Risk) Level() string {
	switch score := max(r.Session, r.Agent); {
	case score >= 90:
		return "critical"
	case score >= 75:
		return "high"
	case score >= 60:
		return "medium"
	}
	return ""
}

// Shown is r as it is kept to be shown, without what is the scorer's own.
func (r *Risk) Shown() *Risk {
	if r == nil {
		return nil
	}
	out := *r
	out.Of = nil
	return &out
}

// Low reports whether no score is over a bound.
func (r *Risk) Low(below int) bool {
	return r == nil || r.Session < below && r.Agent < below && r.Person < below
}

// Words of context.output.findings that tell what findings together call for.
const (
	FoundReview = "review"
	FoundBlock  = "block"
)
