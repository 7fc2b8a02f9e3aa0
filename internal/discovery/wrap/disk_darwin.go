package wrap

import "golang.org/x/sys/unix"

// renameSwap is RENAME_SWAP of <sys/stdio.h>.
const renameSwap = 0x2

// exchange is renamex_np with RENAME_SWAP.
func exchange(a, b string) error { return unix.RenamexNp(a, b, renameSwap) }

// attributes takes over the group. Access lists are not copied: the folder's own
// are inherited.
func attributes(from, to string) error { return group(from, to) }
