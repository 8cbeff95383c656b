package devstack

import "syscall"

// childAttributes puts the child in its own process group, has the kernel send
// it the signal orphaned when the thread that started it dies, and runs it as
// who, where who is not nil.
func childAttributes(who *account, orphaned syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  orphaned,
		Credential: who.credential(),
	}
}
