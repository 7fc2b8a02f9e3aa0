package confine

import "golang.org/x/sys/unix"

const (
	filterArch = "amd64"
	auditArch  = unix.AUDIT_ARCH_X86_64
)

// neverHere are calls only this processor has.
func neverHere() []uint32 {
	return []uint32{unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_USELIB, unix.SYS_USTAT, unix.SYS_VHANGUP}
}
