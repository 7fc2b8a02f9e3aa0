package admin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rutile/internal/access"
)

// Bounds of what one apply may bring.
const (
	MaxFile      = 8 << 20  // bytes of one manifest file
	MaxKeyFile   = 64 << 10 // bytes of one key file
	MaxFiles     = 10_000
	MaxManifests = 10_000
)

// Document is one manifest file as it travels from the command line to the
// daemon: its text, and the contents of the public-key files it names, by the
// path written in it. It is parsed again where it is applied.
type Document struct {
	File string            `json:"file"` // for messages
	Text string            `json:"text"`
	Keys map[string]string `json:"keys,omitempty"`
}

// ParseFiles reads manifests from files and, recursively, from the *.yaml and
// *.yml files of directories, and checks everything that can be checked without
// a running gateway. Hidden files and directories are left out and symbolic
// links inside a directory are not followed. It reports every problem it finds.
func ParseFiles(paths ...string) ([]Document, error) {
	files, err := manifestFiles(paths)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, access.Errorf(access.CodeNotFound, "no *.yaml or *.yml file in %s", strings.Join(paths, ", "))
	}
	docs := make([]Document, 0, len(files))
	for _, f := range files {
		text, err := readBounded(f, MaxFile)
		if err != nil {
			return nil, err
		}
		docs = append(docs, Document{File: f, Text: text})
	}
	return finish(docs, filepath.Dir)
}

// ParseReader reads one manifest file from r, for example standard input. Key
// files it names are read relative to dir.
func ParseReader(name, dir string, r io.Reader) ([]Document, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(text) > MaxFile {
		return nil, tooLarge(name, MaxFile)
	}
	return finish([]Document{{File: name, Text: string(text)}}, func(string) string { return dir })
}

// finish reads the key files the documents name and parses everything.
func finish(docs []Document, dirOf func(file string) string) ([]Document, error) {
	for i := range docs {
		for _, path := range keyFiles(docs[i]) {
			full := path
			if !filepath.IsAbs(path) {
				full = filepath.Join(dirOf(docs[i].File), path)
			}
			text, err := readBounded(full, MaxKeyFile)
			if err != nil {
				continue // parsing says where the file is named
			}
			if docs[i].Keys == nil {
				docs[i].Keys = map[string]string{}
			}
			docs[i].Keys[path] = text
		}
	}
	_, problems := parseAll(docs)
	if err := problems.err(); err != nil {
		return nil, err
	}
	return docs, nil
}

func readBounded(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", access.Errorf(access.CodeNotFound, "%s does not exist", path)
		}
		return "", access.Errorf(access.CodeInvalid, "reading %s: %w", path, err)
	}
	defer f.Close()
	return readRegular(f, path, limit)
}

// readRegular refuses devices and pipes, which need not end, and reads at most
// limit bytes whatever the file's size was said to be.
func readRegular(f fs.File, path string, limit int64) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", access.Errorf(access.CodeInvalid, "reading %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return "", access.Errorf(access.CodeInvalid, "%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return "", access.Errorf(access.CodeInvalid, "reading %s: %w", path, err)
	}
	if int64(len(b)) > limit {
		return "", tooLarge(path, limit)
	}
	return string(b), nil
}

func tooLarge(path string, limit int64) error {
	return access.Errorf(access.CodeTooLarge, "%s has more than %d bytes: split it into several files", path, limit)
}

// manifestFiles returns the files to read, each once, in a stable order.
func manifestFiles(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, access.Errorf(access.CodeNotFound, "%s does not exist", p)
		}
		if err != nil {
			return nil, access.Errorf(access.CodeInvalid, "reading %s: %w", p, err)
		}
		if !info.IsDir() {
			out = append(out, filepath.Clean(p))
			continue
		}
		err = filepath.WalkDir(p, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case path != p && strings.HasPrefix(e.Name(), "."):
				if e.IsDir() {
					return filepath.SkipDir
				}
			case e.Type().IsRegular() && (strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")):
				if len(out) == MaxFiles {
					return access.Errorf(access.CodeTooLarge, "%s holds more than %d manifest files", p, MaxFiles)
				}
				out = append(out, path)
			}
			return nil
		})
		if err != nil {
			if access.CodeOf(err) == access.CodeTooLarge {
				return nil, err
			}
			return nil, access.Errorf(access.CodeInvalid, "reading %s: %w", p, err)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
