package grant

import (
	"encoding/json"
	"slices"

	"rutile/internal/rawjson"
)

// exactly is the constraint that only this call meets.
func exactly(args rawjson.Value) Constraints {
	return Constraints{{ArgsDigest: ArgsDigest(args)}}
}

// exact reports whether only one call meets c.
func exact(c Constraints) bool {
	return slices.ContainsFunc(c, func(x Constraint) bool { return x.ArgsDigest != "" })
}

// textOf is c in one form, for comparing.
func textOf(c Constraints) string {
	b, err := json.Marshal(c)
	if err != nil {
		return "" // for no constraint that was parsed
	}
	return string(b)
}
