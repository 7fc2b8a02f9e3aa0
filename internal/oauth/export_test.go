package oauth

// ParseForm is parseForm.
func ParseForm(body string) (map[string][]string, error) { return parseForm(body) }

// Known is known.
func Known(name string) bool { return known(name) }
