//go:build !linux

package devstack

import "syscall"

// childAttributes is childAttributes of Linux without the parent-death signal,
// which no other kernel has. There a server whose program was killed with -9
// runs on until the next start sweeps its folder away.
func childAttributes(who *account, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Setpgid:    true,
		Credential: who.credential(),
	}
}
