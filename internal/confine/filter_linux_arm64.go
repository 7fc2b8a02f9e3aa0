package confine

import "golang.org/x/sys/unix"

const (
	filterArch = "arm64"
	auditArch  = unix.AUDIT_ARCH_AARCH64
)

// neverHere are calls only this processor has.
func neverHere() []uint32 {
	return []uint32{unix.SYS_KEXEC_FILE_LOAD, unix.SYS_VHANGUP}
}
