package access

import "time"

// Facts are what the gateway has counted and remembers, as policies read them of
// one request (access.md 2.9). The gate sets them; nil means that nobody looked,
// and then nothing that reads one is permitted.
type Facts struct {
	// Values are those of every fact that a policy may read of this request.
	Values map[string]FactValue
	// Broken says why the request cannot be counted where it must be, "" if it can.
	Broken string
	// Flight are the values that Values would have had if the calls that were under
	// way had not been. It holds only those that differ.
	Flight map[string]FactValue
	// Changed is closed when a call that was under way has ended.
	Changed <-chan struct{}
}

// FactValue is the value of one fact: Long of one that counts, Bool of one that
// remembers, Set of one the gateway itself looks up.
type FactValue struct {
	Long int64
	Bool bool
	Set  []string // of one that names what was seen; sorted
	Err  string   // why there is none; it names places, never values
}

// Charge is what one call adds to one counter of a fact that the store keeps.
type Charge struct {
	Fact string
	Key  string // of the counter, see fact.Fact
	// Value is the keyed digest of what is counted once however often it comes, nil
	// where every call counts.
	Value []byte
	// Bucket is the end of the step of time the call falls into, in seconds since
	// 1970. The counter holds what has a larger Bucket than Since.
	Bucket, Since int64
	Ends          time.Time // when Bucket counts no longer
	Amount        int64     // not negative
	// Total is set by who reserves: with this charge and all that are under way.
	Total int64
	// Others is how much of Total other calls hold that are under way.
	Others int64
}

// MaxAmount bounds one amount: what every reader of JSON takes for the same
// number (RFC 8259, section 6). MaxTotal bounds a counter.
const (
	MaxAmount = 1<<53 - 1
	MaxTotal  = 1 << 62
)

// Without notes what a value would be without the calls that are under way.
func (f *Facts) Without(id string, v FactValue) {
	if f.Flight == nil {
		f.Flight = map[string]FactValue{}
	}
	f.Flight[id] = v
}
