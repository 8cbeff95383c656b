package faults

import (
	"fmt"
	"os"
	"syscall"
)

// mountSmallDisk mounts a disk in memory, which only root may do.
func mountSmallDisk(folder string, size int) (unmount func() error, err error) {
	if os.Geteuid() != 0 {
		return nil, &SkipError{"needs root, to mount a small disk"}
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("size=%d", size)); err != nil {
		return nil, &SkipError{"cannot mount a small disk here: " + err.Error()}
	}
	return func() error { return syscall.Unmount(folder, syscall.MNT_DETACH) }, nil
}
