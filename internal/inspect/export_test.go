package inspect

// Normalise returns text as it is matched, and where each byte of it came from.
func Normalise(e *Engine, text []byte) ([]byte, []int) {
	v := e.normalise(text)
	raw := make([]int, len(v.text))
	for i := range raw {
		raw[i] = v.raw(i)
	}
	return v.text, raw
}
