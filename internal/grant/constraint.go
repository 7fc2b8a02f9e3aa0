package grant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Operator is what a constraint demands of the argument it points to.
type Operator string

// The operators (access.md 3.4). docs/constraints.md describes each.
const (
	OpEq         Operator = "eq"         // equals the value
	OpIn         Operator = "in"         // equals one of the values
	OpPrefix     Operator = "prefix"     // a string that begins with the text
	OpGlob       Operator = "glob"       // a string that matches; "*" is any run of characters
	OpRange      Operator = "range"      // a number between two, both included
	OpMaxLen     Operator = "maxLen"     // a string of at most so many bytes
	OpSubset     Operator = "subset"     // an array all of whose members are among the values
	OpRegex      Operator = "regex"      // a string that matches as a whole (RE2)
	OpCIDR       Operator = "cidr"       // an address or network inside the network
	OpHostIn     Operator = "hostIn"     // a host, or a URL with a host, among those named
	OpSQLClass   Operator = "sqlClass"   // a statement that provably does no more than the class
	OpPathUnder  Operator = "pathUnder"  // a canonical path at or under the directory
	OpJSONSchema Operator = "jsonSchema" // valid by the schema
	OpArgsDigest Operator = "argsDigest" // the arguments as a whole have the digest
)

// Bounds of what is written. A list beyond one of them is refused.
const (
	MaxConstraints = 64       // in one list
	maxSource      = 64 << 10 // bytes of one list
	maxSet         = 256      // values of in, subset and hostIn
	maxPointer     = 512      // bytes
	maxGlob        = 128      // characters
	maxRegex       = 512      // bytes
	maxText        = 4096     // bytes of a prefix or directory
)

// Constraint says what one argument, or the arguments as a whole, must be. It is
// made by reading its JSON form and never changes; the zero value is not a
// constraint and matches nothing.
type Constraint struct {
	at      string
	path    []step
	op      Operator
	operand json.RawMessage // in canonical form
	m       matcher
}

// Constraints hold together: a call must meet each of them. An empty list
// constrains nothing.
type Constraints []Constraint

// matcher is one compiled operator. The zero Constraint has none.
type matcher interface {
	// match reports whether the value meets the demand. Its answer depends
	// only on the canonical form of v, not on how v is spelled; Implies
	// rests on it.
	match(v rawjson.Value) bool
}

// At is the JSON pointer (RFC 6901), "" for the arguments as a whole.
func (c Constraint) At() string { return c.at }

// Op is the operator, "" for the zero value.
func (c Constraint) Op() Operator { return c.op }

// Operand is the operator's value in canonical JSON; it must not be changed.
func (c Constraint) Operand() json.RawMessage { return c.operand }

// Equal reports whether both say the same in the same words.
func (c Constraint) Equal(d Constraint) bool {
	return c.at == d.at && c.op == d.op && bytes.Equal(c.operand, d.operand)
}

// ParseConstraints reads a JSON array of constraints strictly. An error has
// access.CodeInvalid and names the constraint by its index, and its key; it
// never repeats a value.
func ParseConstraints(src []byte) (Constraints, error) {
	v, err := rawjson.Parse(src, rawjson.Limits{Bytes: maxSource})
	if err != nil {
		return nil, access.Errorf(access.CodeInvalid, "reading constraints: %w", err)
	}
	return ReadConstraints(v)
}

// ReadConstraints is ParseConstraints of a part of a parsed document. What it
// returns does not hold on to the document.
func ReadConstraints(v rawjson.Value) (Constraints, error) {
	switch {
	case v.Kind() != rawjson.Array:
		return nil, access.Errorf(access.CodeInvalid, "constraints: must be an array")
	case v.Len() > MaxConstraints || len(v.Raw()) > maxSource:
		return nil, access.Errorf(access.CodeInvalid, "constraints: at most %d, and %d bytes", MaxConstraints, maxSource)
	}
	cs := make(Constraints, 0, v.Len())
	for item := range v.Items() {
		c, err := readConstraint(item)
		if err != nil {
			return nil, access.Errorf(access.CodeInvalid, "constraint %d: %w", len(cs), err)
		}
		cs = append(cs, c)
	}
	return cs, nil
}

// readConstraint reads {"at": pointer, OPERATOR: operand}.
func readConstraint(v rawjson.Value) (Constraint, error) {
	if v.Kind() != rawjson.Object {
		return Constraint{}, fmt.Errorf("must be an object")
	}
	var c Constraint
	var at, operand rawjson.Value
	for k, val := range v.Members() {
		key, _ := k.Str()
		switch {
		case key == "at":
			at = val
		case !Operator(key).known():
			return Constraint{}, fmt.Errorf("%s: unknown key", quote(key))
		case c.op != "":
			return Constraint{}, fmt.Errorf("%q: a second operator beside %q; write two constraints", key, c.op)
		default:
			c.op, operand = Operator(key), val
		}
	}
	if err := c.locateAt(at); err != nil {
		return Constraint{}, err
	}
	// A copy, so that no document is kept alive or can change below us.
	c.operand = rawjson.AppendCanonical(nil, operand)
	own, err := rawjson.Parse(c.operand, rawjson.Limits{})
	if err != nil {
		return Constraint{}, fmt.Errorf("%q: %w", c.op, err)
	}
	if !boundedNumbers(own) {
		return Constraint{}, fmt.Errorf("%q: a number with an exponent beyond ±%d", c.op, maxExponent)
	}
	if c.m, err = compile(c.op, own); err != nil {
		return Constraint{}, fmt.Errorf("%q: %w", c.op, err)
	}
	return c, nil
}

func (c *Constraint) locateAt(at rawjson.Value) (err error) {
	switch {
	case c.op == "":
		return fmt.Errorf("no operator beside \"at\"")
	case c.op == OpArgsDigest && at.Exists():
		return fmt.Errorf("\"at\": argsDigest is about the arguments as a whole and has none")
	case c.op == OpArgsDigest:
		return nil
	case !at.Exists():
		return fmt.Errorf("\"at\": missing; it is the JSON pointer of the argument")
	case at.Kind() != rawjson.String:
		return fmt.Errorf("\"at\": must be a string, the JSON pointer of the argument")
	}
	c.at, _ = at.Str()
	c.path, err = parsePointer(c.at)
	if err != nil {
		return fmt.Errorf("\"at\": %w", err)
	}
	return nil
}

func (op Operator) known() bool {
	switch op {
	case OpEq, OpIn, OpPrefix, OpGlob, OpRange, OpMaxLen, OpSubset, OpRegex, OpCIDR, OpHostIn, OpSQLClass, OpPathUnder,
		OpJSONSchema, OpArgsDigest:
		return true
	}
	return false
}

// quote writes a key of somebody else's so that it is short and printable.
func quote(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return strconv.QuoteToASCII(s)
}

// Validate returns an error for a list that was not made by reading one.
func (cs Constraints) Validate() error {
	if len(cs) > MaxConstraints {
		return access.Errorf(access.CodeInvalid, "constraints: at most %d", MaxConstraints)
	}
	for i, c := range cs {
		if c.m == nil {
			return access.Errorf(access.CodeInvalid, "constraint %d: empty", i)
		}
	}
	return nil
}

// UnmarshalJSON is ParseConstraints.
func (cs *Constraints) UnmarshalJSON(src []byte) error {
	got, err := ParseConstraints(src)
	if err != nil {
		return err
	}
	*cs = got
	return nil
}

// MarshalJSON writes what ParseConstraints reads, "[]" for none.
func (cs Constraints) MarshalJSON() ([]byte, error) {
	dst := []byte{'['}
	for i, c := range cs {
		if i > 0 {
			dst = append(dst, ',')
		}
		one, err := c.MarshalJSON()
		if err != nil {
			return nil, err
		}
		dst = append(dst, one...)
	}
	return append(dst, ']'), nil
}

// UnmarshalJSON reads one constraint as strictly as ParseConstraints.
func (c *Constraint) UnmarshalJSON(src []byte) error {
	v, err := rawjson.Parse(src, rawjson.Limits{Bytes: maxSource})
	if err != nil {
		return access.Errorf(access.CodeInvalid, "reading a constraint: %w", err)
	}
	got, err := readConstraint(v)
	if err != nil {
		return access.Errorf(access.CodeInvalid, "constraint: %w", err)
	}
	*c = got
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (c Constraint) MarshalJSON() ([]byte, error) {
	if c.m == nil {
		return nil, access.Errorf(access.CodeInvalid, "constraint: empty")
	}
	dst := []byte{'{'}
	if c.op != OpArgsDigest {
		dst = append(rawjson.AppendString(append(dst, `"at":`...), c.at), ',')
	}
	dst = append(rawjson.AppendString(dst, string(c.op)), ':')
	return append(append(dst, c.operand...), '}'), nil
}
