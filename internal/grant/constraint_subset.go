package grant

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Implies returns nil if for each parent constraint some child constraint on
// the same pointer implies it by the table of access.md 3.4; then every call
// the child allows the parent allows. A pair that is not in the table refuses,
// also where it would be sound. The error has access.CodeDenied and names the
// parent constraint that nothing implies.
func Implies(parent, child Constraints) error {
	if err := child.Validate(); err != nil {
		return err
	}
	for i, p := range parent {
		if !slices.ContainsFunc(child, func(c Constraint) bool { return p.impliedBy(c) }) {
			return access.Errorf(access.CodeDenied, "constraint %d of the parent, %s at %s, is not implied: repeat it or narrow it",
				i, p.op, strconv.QuoteToASCII(p.at))
		}
	}
	return nil
}

// ImpliesCall returns nil if the parent allows exactly these arguments: the check
// for a child that is bound to one call by its digest, where the caller has the
// arguments and has compared the digest.
func ImpliesCall(parent Constraints, args rawjson.Value) error { return parent.Match(args) }

// impliedBy is the table. Equal pointers are spelled equally.
func (c Constraint) impliedBy(child Constraint) bool {
	if c.m == nil || c.at != child.at || (c.op == OpArgsDigest) != (child.op == OpArgsDigest) {
		return false
	}
	switch p := c.m.(type) {
	case value:
		d, ok := child.m.(value)
		return ok && p.form == d.form
	case subsetOf:
		return p.implied(child.m)
	case sqlClass:
		d, ok := child.m.(sqlClass)
		return ok && d <= p
	case digest:
		return child.m == matcher(p)
	}
	// For the others a child that lists its values is checked value by value.
	switch d := child.m.(type) {
	case value:
		return c.m.match(d.v)
	case set:
		return !slices.ContainsFunc(d, func(w value) bool { return !c.m.match(w.v) })
	}
	return narrower(c.m, child.m)
}

func (s subsetOf) implied(child matcher) bool {
	switch d := child.(type) {
	case value:
		return s.match(d.v)
	case subsetOf:
		return set(d).within(set(s))
	}
	return false
}

// narrower compares two constraints that describe their values.
func narrower(parent, child matcher) bool {
	switch p := parent.(type) {
	case prefix:
		switch d := child.(type) {
		case prefix:
			return strings.HasPrefix(string(d), string(p))
		case glob:
			return strings.HasPrefix(d.head(), string(p))
		}
	case glob:
		switch d := child.(type) {
		case prefix:
			return p.includesPrefix(string(d))
		case glob:
			return p.includes(d.pattern)
		}
	case between:
		d, ok := child.(between)
		return ok && p.low.compare(d.low) <= 0 && d.high.compare(p.high) <= 0
	case maxLen:
		d, ok := child.(maxLen)
		return ok && d <= p
	case regex:
		d, ok := child.(regex)
		return ok && p.text == d.text
	case network:
		d, ok := child.(network)
		return ok && p.contains(netip.Prefix(d))
	case hosts:
		d, ok := child.(hosts)
		return ok && !slices.ContainsFunc(d, func(h string) bool { return !p.covers(h) })
	case directory:
		d, ok := child.(directory)
		return ok && p.holds(string(d))
	case schema:
		d, ok := child.(schema)
		return ok && p.form == d.form
	}
	return false
}
