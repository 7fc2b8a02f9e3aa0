package mcpproxy

import "rutile/internal/rawjson"

// SecretForm is whether a form elicitation asks for a secret.
func SecretForm(params rawjson.Value) bool { return secretForm(params) }

// Openable is whether a person may be sent to an address.
func Openable(link string) bool { return openable(link) }
