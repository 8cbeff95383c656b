//go:build unix

package main

import "syscall"

// noCoreDumps keeps this process from leaving its memory, with secrets and receipts in
// it, in a file when it crashes.
func noCoreDumps() error {
	return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}
