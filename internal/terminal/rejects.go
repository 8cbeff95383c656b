package terminal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// checkNoLink refuses a symbolic link to a file, which may have been planted for
// what it points to to be overwritten. One to a device or a pipe, such as
// /dev/stderr, overwrites nothing.
func checkNoLink(name string) error {
	link, err := os.Lstat(name)
	if err != nil || link.Mode()&fs.ModeSymlink == 0 {
		return nil
	}
	if target, err := os.Stat(name); err == nil && !target.Mode().IsRegular() {
		return nil
	}
	return fmt.Errorf("--rejects: %s is a symbolic link, whose target would be overwritten: remove it, or name another file", name)
}

// OpenRejects opens the file for the rejects, which hold receipts, for its owner
// alone. It follows no link to a file, also where one came since checkNoLink.
func OpenRejects(name string) (*os.File, error) {
	if err := checkNoLink(name); err != nil {
		return nil, err
	}
	flags := os.O_WRONLY | unix.O_NOFOLLOW
	if there, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) || err == nil && there.Mode().IsRegular() {
		flags |= os.O_CREATE
	} else {
		flags &^= unix.O_NOFOLLOW
	}
	file, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := emptyForOwner(file, flags&unix.O_NOFOLLOW != 0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// emptyForOwner empties a file and keeps it from others before anything is
// written, also where it was there and open to them.
func emptyForOwner(file *os.File, mayBeFile bool) error {
	info, err := file.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return nil
	case !mayBeFile:
		return fmt.Errorf("%s has become a symbolic link to a file", file.Name())
	}
	if err := file.Chmod(0o600); err != nil {
		return err
	}
	return file.Truncate(0)
}
