package access

import "encoding/json"

// Owed is a leaf of the evidence about a change that takes something away. Such a
// change takes effect first, so its leaf is kept with it, in one transaction, until
// the log holds it: whatever ends the process between the two, no change stays
// without its leaf.
type Owed struct {
	ID     string // of the change; its leaves share it
	Node   string // whose log is to hold the leaf
	Actor  string
	Verb   string
	Kind   string
	Object string
	Before string // digests of the object
	After  string
	Reason string
	Detail json.RawMessage
}
