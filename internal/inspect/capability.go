package inspect

import (
	"bytes"

	"rutile/internal/rawjson"
)

// Capabilities grades a change of what a server declares that it can do
// (inspection.md section 6, "new capability"). What it declares anew, or declares
// otherwise, a person must see; what it declares no more is recorded. That its
// lists may change (listChanged) gives it nothing.
func (e *Engine) Capabilities(before, after rawjson.Value) Drift {
	d := drifting{e: e, profile: Definition}
	if bytes.Equal(rawjson.AppendCanonical(nil, before), rawjson.AppendCanonical(nil, after)) {
		if !bytes.Equal(before.Raw(), after.Raw()) {
			d.add("spelling", "", GradeInfo, "the same is written otherwise")
		}
		return d.Drift
	}
	d.capabilities("", before, after, 0)
	d.newFindings(before, after)
	if d.Grade == GradeNone {
		d.add("spelling", "", GradeInfo, "it comes to the same")
	}
	return d.Drift
}

func (d *drifting) capabilities(at string, before, after rawjson.Value, depth int) {
	if depth > maxNesting {
		d.add("capability", at, GradeHigh, "what is declared is nested too deep")
		return
	}
	for _, key := range keysOf(before, after) {
		was, is, to := before.Get(key), after.Get(key), at+"/"+escapeKey(key)
		claims := func(v rawjson.Value) bool {
			on, isBool := v.Bool()
			return v.Exists() && v.Kind() != rawjson.Null && (on || !isBool)
		}
		switch {
		case same(was, is) || !claims(was) && !claims(is):
		case !claims(is):
			d.add("capability", to, GradeLow, "the server declares it no more")
		case key == "listChanged" && (is.Kind() == rawjson.True || is.Kind() == rawjson.False):
			d.add("capability", to, GradeLow, "the server says that it tells of changes")
		case !claims(was):
			d.add("capability", to, GradeHigh, "the server declares a new capability")
		case was.Kind() == rawjson.Object && is.Kind() == rawjson.Object:
			d.capabilities(to, was, is, depth+1)
		default:
			d.add("capability", to, GradeHigh, "the server declares a capability otherwise than before")
		}
	}
}
