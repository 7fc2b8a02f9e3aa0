package mcpproxy

import "rutile/internal/rawjson"

// Within is what of now is carried where approved is approved.
func Within(approved, now rawjson.Value) string { return string(within(approved, now, 0)) }
