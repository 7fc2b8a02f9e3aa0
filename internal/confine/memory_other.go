//go:build !linux

package confine

// HideMemory keeps what this process holds out of core dumps in files, where
// the system has them.
func HideMemory() error { return noCore() }
