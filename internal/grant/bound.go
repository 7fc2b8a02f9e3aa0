package grant

import (
	"encoding/json"
	"fmt"
	"slices"

	"rutile/internal/rawjson"
)

// exactly is the constraint that only this call meets.
func exactly(args rawjson.Value) (Constraints, error) {
	return ParseConstraints(fmt.Appendf(nil, `[{"%s":"%s"}]`, OpArgsDigest, ArgsDigest(args)))
}

// exact reports whether only one call meets c.
func exact(c Constraints) bool {
	return slices.ContainsFunc(c, func(x Constraint) bool { return x.Op() == OpArgsDigest })
}

// textOf is c in one form, for comparing.
func textOf(c Constraints) string {
	b, err := json.Marshal(c)
	if err != nil {
		return "" // for no constraint that was parsed
	}
	return string(b)
}
