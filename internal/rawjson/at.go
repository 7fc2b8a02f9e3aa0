package rawjson

import (
	"strconv"
	"strings"
)

// At follows an RFC 6901 pointer from v; Missing where it leads nowhere.
func (v Value) At(pointer string) Value {
	if pointer == "" {
		return v
	}
	if pointer[0] != '/' {
		return Value{}
	}
	for token := range strings.SplitSeq(pointer[1:], "/") {
		switch v.Kind() {
		case Object:
			v = v.Get(strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~"))
		case Array:
			n, err := strconv.Atoi(token)
			next := Value{}
			if err == nil {
				for item := range v.Items() {
					if n == 0 {
						next = item
						break
					}
					n--
				}
			}
			v = next
		default:
			return Value{}
		}
	}
	return v
}
