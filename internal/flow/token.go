package flow

import (
	"bytes"
)

// Kinds of fingerprints. A value has one of each kind it can be read as.
const (
	kindWord    = 'w' // letters and digits without a break
	kindEmail   = 'e'
	kindURL     = 'u' // without its scheme
	kindHost    = 'h'
	kindNumber  = 'c' // account, card and phone numbers, tokens: letters and digits alone, at least six of them digits
	kindName    = 'f' // file names, paths, handles: words with signs between them
	kindPhrase  = 'p' // a short whole value
	kindStem    = 'm' // a word without its ending
	kindPassage = 'g' // winnowed from a longer text
)

// token is one thing a text has.
type token struct {
	kind       byte
	text       []byte // as it is compared; valid until the next token
	start, end int    // bytes of the folded text
}

// Bounds of one token.
const (
	maxWord  = 64
	maxTyped = 256
	minDigit = 6 // digits of a number
)

// splitter cuts folded texts in tokens. It is not safe for concurrent use.
type splitter struct {
	compact []byte // the number being read
	digits  int
	starts  []int // bytes of compact at which a part with a digit begins
	solid   int   // bytes of compact up to the last of them
	froms   []int // where those parts begin in the text
	until   int   // where that one ends
	end     int
}

// byte classes
func isWord(b byte) bool  { return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b >= 0x80 }
func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// breaks reports whether b ends a chunk: what stands between two of these is read
// together.
func breaks(b byte) bool {
	switch b {
	case ' ', '\n', '"', '\'', '`', '<', '>', '(', ')', '[', ']', '{', '}', ',', ';', '|':
		return true
	}
	return false
}

// otherWriting is the first byte from which on a character of a folded text is neither
// Latin, Greek nor Cyrillic, which put blanks between words and have letters that look
// alike. In other writings a particle follows an address, and a unit a number.
const otherWriting = 0xd6

// tokens gives every token of text to emit, in the order they end.
func (s *splitter) tokens(text []byte, emit func(token)) {
	s.compact, s.digits = s.compact[:0], 0
	for i := 0; i < len(text); {
		if breaks(text[i]) {
			i++
			continue
		}
		from, other := i, text[i] >= otherWriting
		for i < len(text) && !breaks(text[i]) && (text[i] >= 0x80 && text[i] < otherWriting || text[i] >= otherWriting == other) {
			i++
		}
		s.chunk(text, from, i, emit)
	}
	s.flush(emit)
}

// chunk reads text[from:to], which has no break in it.
func (s *splitter) chunk(text []byte, from, to int, emit func(token)) {
	for from < to && !isWord(text[from]) {
		from++
	}
	for from < to && !isWord(text[to-1]) {
		to--
	}
	words, at, dot, sign := 0, -1, -1, false
	for i := from; i < to; {
		if !isWord(text[i]) {
			switch text[i] {
			case '@':
				at = i
			case '.':
				dot = i
			case '/', ':':
				sign = true
			}
			i++
			continue
		}
		start := i
		digits := 0
		for i < to && isWord(text[i]) {
			if isDigit(text[i]) {
				digits++
			}
			i++
		}
		words++
		s.word(text, start, i, digits, emit)
	}
	if words < 2 || to-from > maxTyped {
		return
	}
	whole := text[from:to]
	switch {
	case sign && bytes.Contains(whole, []byte("://")) || at < 0 && dot > from && hostLike(whole):
		s.address(text, from, to, emit)
	case at > from && dot > from:
		mail(text, from, to, emit)
	default:
		emit(token{kindName, whole, from, to})
	}
}

// mail emits an address of mail, and its host.
func mail(text []byte, from, to int, emit func(token)) {
	if bytes.HasPrefix(text[from:to], []byte("mailto:")) {
		from += len("mailto:")
	}
	if i := bytes.IndexAny(text[from:to], "?#/"); i > 0 {
		to = from + i
	}
	if at := from + bytes.LastIndexByte(text[from:to], '@'); at > from && bytes.IndexByte(text[at:to], '.') > 0 {
		emit(token{kindEmail, text[from:to], from, to})
		emit(token{kindHost, text[at+1 : to], at + 1, to})
		return
	}
	emit(token{kindName, text[from:to], from, to})
}

// word emits a word and reads it as a part of a number.
func (s *splitter) word(text []byte, start, end, digits int, emit func(token)) {
	if end-start <= maxWord {
		emit(token{kindWord, text[start:end], start, end})
	}
	if digits == 0 && (len(s.compact) == 0 || end-start != 4) || end-start > maxTyped {
		s.flush(emit)
		return
	}
	if len(s.compact) > 0 && (!joins(text[s.end:start]) || len(s.compact) > maxTyped) {
		s.flush(emit)
		if digits == 0 {
			return
		}
	}
	if len(s.compact) == 0 {
		s.starts, s.froms = s.starts[:0], s.froms[:0]
	}
	if digits > 0 {
		s.starts, s.froms = append(s.starts, len(s.compact)), append(s.froms, start)
	}
	s.compact = append(s.compact, text[start:end]...)
	s.digits += digits
	s.end = end
	if digits > 0 {
		s.solid, s.until = len(s.compact), end
	}
	if digits >= minDigit && !isDate(text[start:end]) {
		emit(token{kindNumber, text[start:end], start, end})
	}
}

// flush emits the number read so far if it has several parts, from each of the first
// parts on: what stands before it may be another number. One part alone was emitted when
// it was read.
func (s *splitter) flush(emit func(token)) {
	if s.digits >= minDigit && len(s.starts) > 1 {
		for i, at := range s.starts[:min(len(s.starts)-1, 4)] {
			if b := s.compact[at:s.solid]; len(b) >= minDigit && !isDate(b) {
				emit(token{kindNumber, b, s.froms[i], s.until})
			}
		}
	}
	s.compact, s.digits = s.compact[:0], 0
}

// joins reports whether the parts of one number may stand on either side of a gap.
func joins(gap []byte) bool {
	return len(gap) <= 2 && len(bytes.Trim(gap, " -./()+")) == 0
}

// isDate reports whether digits run together are a day: it says nothing of anybody.
func isDate(b []byte) bool {
	return len(b) == 8 && (b[0] == '1' && b[1] == '9' || b[0] == '2' && b[1] == '0') && b[4] <= '1' && b[6] <= '3'
}

// address emits a URL without its scheme, and its host.
func (s *splitter) address(text []byte, from, to int, emit func(token)) {
	if i := bytes.Index(text[from:to], []byte("://")); i >= 0 {
		from += i + 3
	}
	rest := text[from:to]
	if i := bytes.IndexByte(rest, '@'); i >= 0 && i < bytes.IndexByte(append(rest[:len(rest):len(rest)], '/'), '/') {
		from += i + 1
		rest = text[from:to]
	}
	if bytes.HasPrefix(rest, []byte("www.")) {
		from += 4
		rest = text[from:to]
	}
	host := rest
	if i := bytes.IndexAny(rest, "/?#:"); i >= 0 {
		host = rest[:i]
	}
	emit(token{kindHost, host, from, from + len(host)})
	emit(token{kindURL, bytes.TrimRight(rest, "/"), from, to})
}

// hostLike reports whether b begins like the name of a host: labels with dots between
// them, the last of two letters or more, then a path or nothing.
func hostLike(b []byte) bool {
	if i := bytes.IndexAny(b, "/?#:"); i >= 0 {
		b = b[:i]
	}
	dot := bytes.LastIndexByte(b, '.')
	if dot <= 0 || len(b)-dot-1 < 2 {
		return false
	}
	for _, c := range b[dot+1:] {
		if c < 'a' || c > 'z' {
			return false
		}
	}
	return !isFile(b[dot+1:]) || bytes.HasPrefix(b, []byte("www."))
}

// isFile reports whether an ending is rather of a file than of a host.
func isFile(ending []byte) bool {
	switch string(ending) {
	case "txt", "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "csv", "json", "md", "html", "htm", "xml", "yaml", "yml", "toml",
		"png", "jpg", "jpeg", "gif", "svg", "zip", "tar", "gz", "log", "go", "py", "js", "ts", "sh", "sql", "java", "rs", "rb", "cfg", "ini", "conf", "env", "key", "pem", "mp", "wav":
		return true
	}
	return false
}
