package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"rutile/internal/access"
)

// dataDir makes the data directory, or closes it to others. A directory that is
// open to others and holds something else is not ours to close: whoever names
// it by mistake would shut others out of it.
func dataDir(dir string) error {
	if _, err := SocketPath(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return access.Errorf(access.CodeUnavailable, "the data directory %s cannot be made: %v", dir, pathReason(err))
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return access.Errorf(access.CodeUnavailable, "the data directory %s cannot be read: %v", dir, pathReason(err))
	}
	if !fi.IsDir() {
		return access.Errorf(access.CodeInvalid, "%s is not a directory", dir)
	}
	if fi.Mode().Perm()&0o077 == 0 {
		return nil
	}
	ours, err := oursOrEmpty(dir)
	if err != nil {
		return access.Errorf(access.CodeUnavailable, "the data directory %s cannot be read: %v", dir, pathReason(err))
	}
	if !ours {
		return access.Errorf(access.CodeInvalid, "%s is open to others (mode %04o) and holds other things; the data needs a directory of its own: choose another --data, or chmod 700 this one", dir, fi.Mode().Perm())
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return access.Errorf(access.CodeInvalid, "the data directory %s is open to others and cannot be protected: %v", dir, pathReason(err))
	}
	return nil
}

// oursOrEmpty reports whether dir holds nothing, or what a start of ours leaves.
func oursOrEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		switch e.Name() {
		case databaseName, "vault.key", nodeName:
			return true, nil
		}
	}
	return len(entries) == 0, nil
}

// databaseName is SQLite's file in the data directory.
const databaseName = "rutile.db"

// SocketName is the name of the unix socket in the data directory.
const SocketName = "rutile.sock"

// maxSocketPath is what every system can bind; the smallest bound is 103 bytes.
const maxSocketPath = 100

// SocketPath is where the gateway of a data directory listens for the command
// line.
func SocketPath(data string) (string, error) {
	path := filepath.Join(data, SocketName)
	if len(path) > maxSocketPath {
		return "", access.Errorf(access.CodeInvalid, "the path %s is too long for a unix socket (%d bytes, at most %d); choose a shorter data directory", path, len(path), maxSocketPath)
	}
	return path, nil
}

// nodeName is the file that holds the node's id.
const nodeName = "node"

// nodeID names the node in the evidence. It stands beside the log, not in the
// store: nodes that share a database each write a log of their own. It is made
// once: again says that there is evidence of an earlier start.
func nodeID(dir, evidence string, again bool) (string, error) {
	path := filepath.Join(dir, nodeName)
	raw, err := os.ReadFile(path)
	if err == nil {
		id := strings.TrimSpace(string(raw))
		if !access.ValidID(id) {
			return "", access.Errorf(access.CodeInvalid, "%s does not hold a node id; restore it from a backup", path)
		}
		return id, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", access.Errorf(access.CodeUnavailable, "%s cannot be read: %v", path, pathReason(err))
	}
	// A log goes on under the name it began with, or not at all.
	if again {
		return "", access.Errorf(access.CodeConflict, "%s is missing although there is evidence in %s: restore it from a backup, or move %s and %s away to begin a new log", path, evidence, evidence, evidence+"-signing.key")
	}
	id := "n" + strings.ToLower(access.NewID("")[16:])
	if err := writeOnce(path, id+"\n"); err != nil {
		return "", access.Errorf(access.CodeUnavailable, "%s cannot be written: %v", path, pathReason(err))
	}
	return id, nil
}

// writeOnce makes a small file whole or not at all, owner only.
func writeOnce(path, text string) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, werr := f.WriteString(text)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return errors.Join(os.Rename(tmp, path), syncDir(filepath.Dir(path)))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
