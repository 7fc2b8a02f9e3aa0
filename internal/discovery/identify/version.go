package identify

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// maxVersion bounds the length of a version, in bytes.
const maxVersion = 256

// order compares two exact versions of an ecosystem, with ok false where one of
// them is none: a range, a tag or nonsense has no place in an order.
type order func(a, b string) (diff int, ok bool)

// semantic is the order of npm (semver.org 2.0.0, section 11). A version of two
// numbers is a range to npm, and so none here.
func semantic(a, b string) (int, bool) {
	a, b = "v"+strings.TrimPrefix(a, "v"), "v"+strings.TrimPrefix(b, "v")
	if !whole(a) || !whole(b) {
		return 0, false
	}
	return semver.Compare(a, b), true
}

func whole(v string) bool {
	core, _, _ := strings.Cut(v, "+")
	core, _, _ = strings.Cut(core, "-")
	return len(v) <= maxVersion && strings.Count(core, ".") == 2 && semver.IsValid(v)
}

// python is the order of PyPI (PEP 440).
func python(a, b string) (int, bool) {
	x, ok := parsePython(a)
	y, ok2 := parsePython(b)
	if !ok || !ok2 {
		return 0, false
	}
	return x.compare(y), true
}

// pythonVersion is a version of PEP 440. Numbers are kept as digits without
// leading zeros, since nothing bounds them.
type pythonVersion struct {
	epoch   string
	release []string
	pre     int // 0 before all: only a development release; 1 a, 2 b, 3 rc, 4 none
	preN    string
	post    int // 0 none, 1
	postN   string
	dev     int // 0, 1 none
	devN    string
	local   []string
}

// pep440 is the grammar of appendix B of PEP 440, in lower case.
var pep440 = regexp.MustCompile(`^v?(?:(\d+)!)?(\d+(?:\.\d+)*)` +
	`(?:[-_.]?(alpha|a|beta|b|preview|pre|rc|c)[-_.]?(\d*))?` +
	`(?:-(\d+)|[-_.]?(post|rev|r)[-_.]?(\d*))?` +
	`(?:[-_.]?(dev)[-_.]?(\d*))?` +
	`(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?$`)

func parsePython(s string) (pythonVersion, bool) {
	if len(s) > maxVersion {
		return pythonVersion{}, false
	}
	m := pep440.FindStringSubmatch(strings.ToLower(strings.TrimSpace(s)))
	if m == nil {
		return pythonVersion{}, false
	}
	v := pythonVersion{epoch: digits(m[1]), pre: 4, preN: digits(m[4]), postN: digits(m[5] + m[7]), dev: 1, devN: digits(m[9])}
	for part := range strings.SplitSeq(m[2], ".") {
		v.release = append(v.release, digits(part))
	}
	for len(v.release) > 0 && v.release[len(v.release)-1] == "" {
		v.release = v.release[:len(v.release)-1] // 1.0 is 1
	}
	if m[5] != "" || m[6] != "" {
		v.post = 1
	}
	if m[8] != "" {
		v.dev = 0
	}
	switch {
	case m[3] != "":
		v.pre = map[byte]int{'a': 1, 'b': 2}[m[3][0]]
		if v.pre == 0 {
			v.pre = 3
		}
	case v.dev == 0 && v.post == 0:
		v.pre = 0
	}
	if m[10] != "" {
		v.local = regexp.MustCompile(`[-_.]`).Split(m[10], -1)
	}
	return v, true
}

// digits are those of a number without leading zeros, "" for zero.
func digits(s string) string { return strings.TrimLeft(s, "0") }

func number(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) }

func (v pythonVersion) compare(w pythonVersion) int {
	return cmp.Or(
		number(v.epoch, w.epoch), slices.CompareFunc(v.release, w.release, number),
		cmp.Compare(v.pre, w.pre), number(v.preN, w.preN), cmp.Compare(v.post, w.post), number(v.postN, w.postN),
		cmp.Compare(v.dev, w.dev), number(v.devN, w.devN), slices.CompareFunc(v.local, w.local, localPart),
	)
}

// localPart compares parts of a local version: numbers stand above words.
func localPart(a, b string) int {
	x, y := isNumber(a), isNumber(b)
	switch {
	case x && y:
		return number(digits(a), digits(b))
	case x:
		return 1
	case y:
		return -1
	}
	return strings.Compare(a, b)
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }
