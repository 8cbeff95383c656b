package devstack

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	folderPrefix = "devpg-"
	// sweepAfter protects a folder that another program has made and not
	// locked yet.
	sweepAfter = time.Minute
)

// folder is a temporary folder that is locked while its owner lives, or the
// server in it. The kernel drops the lock with the process, so that a process id that was given
// to another program since cannot keep a folder alive.
type folder struct {
	path string
	lock *os.File
}

// newFolder makes a locked folder below parent for the account.
func newFolder(parent string, who *account) (*folder, error) {
	path, err := os.MkdirTemp(parent, folderPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	lock, err := lockFolder(path, syscall.LOCK_NB)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	made := &folder{path: path, lock: lock}
	if err := who.own(path); err != nil {
		return nil, errors.Join(fmt.Errorf("give away %s: %w", path, err), made.remove())
	}
	return made, nil
}

// remove deletes the folder and then gives up the lock.
func (f *folder) remove() error {
	return errors.Join(os.RemoveAll(f.path), f.lock.Close())
}

// lockFolder locks a folder itself, with no file in it: with syscall.LOCK_NB
// in how it fails at once when another program has it. Closing the file
// unlocks.
func lockFolder(path string, how int) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return file, nil
}

// sweep removes the folders below parent that programs which were killed left
// behind. A Postgres that still runs in one, as it may where there is no
// parent-death signal, looks for its lock file once a minute and quits when it
// is gone. What cannot be removed, because it is another user's, stays.
func sweep(parent string, logger *slog.Logger) {
	found, err := filepath.Glob(filepath.Join(parent, folderPrefix+"*"))
	if err != nil {
		return // The one error is a bad pattern in the parent's name.
	}
	for _, path := range found {
		if info, err := os.Lstat(path); err != nil || !info.IsDir() || time.Since(info.ModTime()) < sweepAfter {
			continue
		}
		lock, err := lockFolder(path, syscall.LOCK_NB)
		if err != nil {
			continue
		}
		if err := (&folder{path: path, lock: lock}).remove(); err != nil {
			logger.Debug("could not remove a stale folder", slog.Any("error", err))
			continue
		}
		logger.Debug("removed a stale folder", slog.String("path", path))
	}
}
