package rawjson

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// FoldDuplicate returns the pointer of the first key in the object v that
// equals an earlier key of the same object under strings.EqualFold, or "" (rule
// 10). deep also looks into nested objects, and into an array v.
func (v Value) FoldDuplicate(deep bool) string {
	if v.doc == nil {
		return ""
	}
	src, tape := v.doc.src, v.doc.tape
	end := v.node + 1
	if deep {
		end = tape[v.node].next
	}
	for i := v.node; i < end; i++ {
		if src[tape[i].start] != '{' {
			continue
		}
		if k := foldDuplicate(src, tape[:tape[i].next], i); k >= 0 {
			return Value{v.doc, k}.Pointer()
		}
	}
	return ""
}

// foldDuplicate returns the first key of the object obj, whose members end the
// tape, that folds to the same as an earlier one, or -1.
func foldDuplicate(src []byte, tape []node, obj int32) int32 {
	if tape[obj].n > smallObject {
		return foldSearch(src, tape, obj)
	}
	for k := obj + 1; int(k) < len(tape); k = tape[k+1].next {
		for other := obj + 1; other < k; other = tape[other+1].next {
			if equalFold(content(src, tape[k]), content(src, tape[other])) {
				return k
			}
		}
	}
	return -1
}

// foldSearch does the same in linear time. It has a table of its own, because
// the values of a Doc may be read concurrently.
func foldSearch(src []byte, tape []node, obj int32) int32 {
	var t keyTable
	t.reset(tape[obj].n)
	for k := obj + 1; int(k) < len(tape); k = tape[k+1].next {
		text := content(src, tape[k])
		t.buf = appendFolded(t.buf[:0], text)
		same := func(other int32) bool { return equalFold(text, content(src, tape[other])) }
		if t.insert(t.buf, k, same) >= 0 {
			return k
		}
	}
	return -1
}

// FoldsTo returns the key of the object v, unescaped, that is not equal to but
// case-folds to one of names, and that name (rule 11); ok is false if none does.
// A key that is itself one of names is none.
func (v Value) FoldsTo(names ...string) (key, name string, ok bool) {
	if v.Kind() != Object {
		return "", "", false
	}
	match := func(k Value) int {
		text := content(v.doc.src, v.doc.tape[k.node])
		return slices.IndexFunc(names, func(name string) bool { return equalFoldString(text, name) })
	}
	if v.Len()*len(names) > smallObject*smallObject {
		match = foldIndex(v.doc, names)
	}
	for k := range v.Members() {
		if i := match(k); i >= 0 && !slices.ContainsFunc(names, k.Equals) {
			key, _ = k.Str()
			return key, names[i], true
		}
	}
	return "", "", false
}

// foldIndex returns a function that finds a name a key folds to in constant
// time, for objects and lists of names that are large together.
func foldIndex(doc *Doc, names []string) func(Value) int {
	index := make(map[string]int, len(names))
	var buf []byte
	for i := len(names) - 1; i >= 0; i-- {
		buf = buf[:0]
		for _, r := range names[i] {
			buf = utf8.AppendRune(buf, fold(r))
		}
		index[string(buf)] = i
	}
	return func(k Value) int {
		buf = appendFolded(buf[:0], content(doc.src, doc.tape[k.node]))
		if i, ok := index[string(buf)]; ok {
			return i
		}
		return -1
	}
}

// fold maps all characters that are equal under simple case folding to the
// least of them.
func fold(r rune) rune {
	if r < utf8.RuneSelf {
		if r >= 'a' && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}
	for {
		next := unicode.SimpleFold(r)
		if next <= r { // the orbit is in increasing order and starts again
			return next
		}
		r = next
	}
}

// appendFolded appends the folded characters of s, the text of a checked string.
func appendFolded(dst, s []byte) []byte {
	for len(s) > 0 {
		r, n := decode(s)
		dst = utf8.AppendRune(dst, fold(r))
		s = s[n:]
	}
	return dst
}

// equalFold is strings.EqualFold for the texts of two checked strings.
func equalFold(a, b []byte) bool {
	for len(a) > 0 && len(b) > 0 {
		r, n := decode(a)
		s, m := decode(b)
		if r != s && fold(r) != fold(s) {
			return false
		}
		a, b = a[n:], b[m:]
	}
	return len(a) == len(b)
}

func equalFoldString(a []byte, b string) bool {
	for len(a) > 0 && b != "" {
		r, n := decode(a)
		s, m := utf8.DecodeRuneInString(b)
		if r != s && fold(r) != fold(s) {
			return false
		}
		a, b = a[n:], b[m:]
	}
	return len(a) == 0 && b == ""
}
