package mcpproxy

import "rutile/internal/rawjson"

// WithoutHidden is a JSON array without the entries that are not shown.
func WithoutHidden(list []byte, shown []bool) ([]byte, error) {
	v, err := rawjson.Parse(list, rawjson.Limits{})
	if err != nil {
		return nil, err
	}
	return rawjson.Splice(list, hidden(v, shown, 0)...), nil
}
