package flow

import "strconv"

// regions are the bytes of a folded text near which inspection found something.
type regions struct {
	spans [][2]int
	whole bool
}

func (r *regions) touches(start, end int) bool {
	if r.whole {
		return true
	}
	for _, s := range r.spans {
		if start < s[1] && end > s[0] {
			return true
		}
	}
	return false
}

func (r *regions) all() bool { return r.whole }

// hot finds the regions of a text at a pointer. What was decoded is hot as a whole
// where anything in its text is.
func (w *resultWalk) hot(pointer string, text []byte, f *folded, depth int) (out regions) {
	for _, found := range w.o.Findings {
		if found.Tier == Clean || found.Pointer != "" && found.Pointer != pointer {
			continue
		}
		if found.End == 0 || depth > 0 || len(text) < 2*near400 {
			out.whole = true
			return out
		}
		out.spans = append(out.spans, [2]int{f.at(found.Start - near400), f.at(found.End + near400)})
	}
	return out
}

// at returns the byte of the text that byte i of the source became.
func (f *folded) at(i int) int {
	if f.from == nil {
		return min(max(i, 0), len(f.text))
	}
	for at, from := range f.from {
		if int(from) >= i {
			return at
		}
	}
	return len(f.text)
}

// join is the pointer of a member or, if name is "", of an item.
func join(pointer string, i int, name string) string {
	if name == "" {
		return pointer + "/" + strconv.Itoa(i)
	}
	return pointer + "/" + escaped(name)
}

func escaped(name string) string {
	for i := range len(name) {
		if name[i] == '~' || name[i] == '/' {
			out := make([]byte, 0, len(name)+4)
			for _, b := range []byte(name) {
				switch b {
				case '~':
					out = append(out, "~0"...)
				case '/':
					out = append(out, "~1"...)
				default:
					out = append(out, b)
				}
			}
			return string(out)
		}
	}
	return name
}
