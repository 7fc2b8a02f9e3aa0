package discovery

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Bounds of reading who owns files of a repository.
const (
	maxCodeOwners = 256 << 10 // bytes of the file
	maxHints      = 8         // owners of one file
	maxAbove      = 20        // folders between a file and its repository's
)

// handle is a person or team of a forge, as CODEOWNERS names them. An address of
// mail, which may stand there too, is personal and not taken.
var handle = regexp.MustCompile(`^@[A-Za-z0-9][A-Za-z0-9_./-]{0,99}$`)

// CodeOwners are the handles that own a file by the CODEOWNERS of its repository,
// without the @: of the last pattern that matches, as forges have it. None where
// there is no such file or it cannot be read. It is what a repository says, and
// suggests an owner to people.
func CodeOwners(file string) []string {
	dir := filepath.Dir(file)
	for range maxAbove {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			rel, err := filepath.Rel(dir, file)
			if err != nil {
				return nil
			}
			return ownersIn(dir, filepath.ToSlash(rel))
		}
		if up := filepath.Dir(dir); up != dir {
			dir = up
			continue
		}
		break
	}
	return nil
}

func ownersIn(root, file string) []string {
	for _, at := range []string{".github/CODEOWNERS", "CODEOWNERS", ".gitlab/CODEOWNERS", "docs/CODEOWNERS"} {
		if b := small(filepath.Join(root, filepath.FromSlash(at)), maxCodeOwners); b != nil {
			return ownersBy(b, file)
		}
	}
	return nil
}

// small is a regular file of at most limit bytes, nil for anything else.
func small(file string, limit int64) []byte {
	if st, err := os.Lstat(file); err != nil || !st.Mode().IsRegular() || st.Size() > limit {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil || int64(len(b)) > limit {
		return nil
	}
	return b
}

func ownersBy(b []byte, file string) []string {
	var out []string
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), " #")
		words := strings.Fields(line)
		// Sections of GitLab have no owners of files of their own.
		if len(words) == 0 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], "[") || strings.HasPrefix(words[0], "^[") || !owns(words[0], file) {
			continue
		}
		out = nil
		for _, w := range words[1:] {
			if handle.MatchString(w) && len(out) < maxHints && !slices.Contains(out, w[1:]) {
				out = append(out, w[1:])
			}
		}
	}
	return out
}

// owns reports whether a pattern of CODEOWNERS matches a file: with a slash before
// its end it begins at the root, else it is a name at any depth, and a folder owns
// what is in it.
func owns(pattern, file string) bool {
	folder := strings.HasSuffix(pattern, "/")
	pattern = strings.TrimSuffix(pattern, "/")
	anchored := strings.Contains(pattern, "/")
	want, have := strings.Split(strings.TrimPrefix(pattern, "/"), "/"), strings.Split(file, "/")
	if !anchored {
		want = append([]string{"**"}, want...)
	}
	// The last folder of dir/* has the files in it and no more.
	within := !strings.HasSuffix(pattern, "/*")
	for n := 1; n <= len(have); n++ {
		if n < len(have) && !within || n == len(have) && folder {
			continue
		}
		if segments(want, have[:n]) {
			return true
		}
	}
	return false
}

// segments matches names with * against names, ** being any number of them. It goes
// back only to the last **, so that no pattern is slow.
func segments(want, have []string) bool {
	i, j, star, mark := 0, 0, -1, 0
	for j < len(have) {
		switch {
		case i < len(want) && want[i] == "**":
			star, mark = i, j
			i++
		case i < len(want) && named(want[i], have[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(want) && want[i] == "**" {
		i++
	}
	return i == len(want)
}

func named(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}
