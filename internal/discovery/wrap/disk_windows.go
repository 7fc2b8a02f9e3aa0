package wrap

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

func openRegular(path string) (*os.File, error) { return os.Open(path) }

// syncDir does nothing: Windows has no such call, and ReplaceFile is durable with
// the files it moves.
func syncDir(string) error { return nil }

// ownership cannot be told from a FileInfo here; the system refuses to replace what
// is not ours.
func ownership(fs.FileInfo) (ours bool, names uint64) { return true, 1 }

// exchange is ReplaceFile, which keeps access list and attributes, with the file
// that was replaced under a third name that then takes the first one's.
func exchange(temp, target string) error {
	old := temp + ".old"
	words := make([]*uint16, 3)
	for i, s := range []string{target, temp, old} {
		p, err := syscall.UTF16PtrFromString(s)
		if err != nil {
			return err
		}
		words[i] = p
	}
	replace := windows.NewLazySystemDLL("kernel32.dll").NewProc("ReplaceFileW")
	ok, _, err := replace.Call(uintptr(unsafe.Pointer(words[0])), uintptr(unsafe.Pointer(words[1])), uintptr(unsafe.Pointer(words[2])), 0, 0, 0)
	if ok == 0 {
		return err
	}
	return os.Rename(old, temp)
}

func attributes(_, _ string) error { return nil } // ReplaceFile keeps them

func lock(path string) (func(), error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_ALWAYS, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, errors.New("another rutile holds the lock, or it cannot be opened")
	}
	return func() { _ = windows.CloseHandle(h) }, nil
}
