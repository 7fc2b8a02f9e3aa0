package watch

import (
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// Files says when paths change that somebody looks for: a file, a folder or a
// link on the way to one, that comes, goes, is written, or is replaced by another.
// It watches folders, since programs replace files by renaming others over them.
// Close it.
type Files struct {
	wake chan struct{}
	fs   *fsnotify.Watcher // nil where the system gives none
	done chan struct{}

	mu      sync.Mutex
	folders map[string]*names
	ids     map[string]os.FileInfo // of folders that are watched
}

// NewFiles returns Files that watch nothing yet. Where the system cannot watch,
// Set says so of everything.
func NewFiles() *Files {
	f := &Files{wake: make(chan struct{}, 1), done: make(chan struct{}), folders: map[string]*names{}, ids: map[string]os.FileInfo{}}
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		close(f.done)
		return f
	}
	f.fs = fs
	go f.follow()
	return f
}

// Close stops watching.
func (f *Files) Close() {
	if f.fs != nil {
		_ = f.fs.Close() // nothing is left to do where it fails
	}
	<-f.done
}

// Changed says that something did. One word stands for all changes before it.
func (f *Files) Changed() <-chan struct{} { return f.wake }

// Set watches for these paths from now on, and for no other. In paths * stands
// for a part of one element and ** for up to ten elements. added says that folders
// came under watch: what changed in them before is not told of. blind is how many
// folders are not watched.
func (f *Files) Set(paths, homes []string) (added bool, blind int) {
	t := newTracer()
	at := map[string]string{}
	for _, h := range homes {
		if real, err := filepath.EvalSymlinks(filepath.FromSlash(h)); err == nil {
			at[path.Clean(filepath.ToSlash(h))] = path.Clean(filepath.ToSlash(real))
		}
	}
	for _, p := range paths {
		t.trace(p, at)
	}
	f.mu.Lock()
	f.folders = t.folders
	f.mu.Unlock()
	if f.fs == nil {
		return false, len(t.folders)
	}
	watched := map[string]bool{}
	for _, dir := range f.fs.WatchList() {
		dir = filepath.ToSlash(dir)
		if _, wanted := t.folders[dir]; !wanted {
			_ = f.fs.Remove(filepath.FromSlash(dir)) // it may be gone
			delete(f.ids, dir)
			continue
		}
		watched[dir] = true
	}
	blind = t.over
	for dir := range t.folders {
		info, err := os.Stat(filepath.FromSlash(dir))
		if err != nil {
			continue // it went just now, which the folder above shows
		}
		if watched[dir] {
			if os.SameFile(info, f.ids[dir]) {
				continue
			}
			_ = f.fs.Remove(filepath.FromSlash(dir)) // it is another one under the same name
		}
		if err := f.fs.Add(filepath.FromSlash(dir)); err != nil {
			delete(f.ids, dir)
			if !os.IsNotExist(err) && !os.IsPermission(err) { // what is not visible is not read either
				blind++
			}
			continue
		}
		f.ids[dir], added = info, true
	}
	return added, blind
}

// follow reads what the system says until it is closed.
func (f *Files) follow() {
	defer close(f.done)
	for {
		select {
		case e, ok := <-f.fs.Events:
			if !ok {
				return
			}
			if f.matters(e) {
				f.tell()
			}
		case _, ok := <-f.fs.Errors:
			if !ok {
				return
			}
			f.tell() // events were lost, or nobody knows: look again
		}
	}
}

func (f *Files) matters(e fsnotify.Event) bool {
	at := filepath.ToSlash(e.Name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.folders[at] != nil && e.Has(fsnotify.Remove|fsnotify.Rename) {
		return true
	}
	n := f.folders[path.Dir(at)]
	return n != nil && n.match(path.Base(at))
}

func (f *Files) tell() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}
