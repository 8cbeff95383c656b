package devstack

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is the user that a server runs as; nil is the user of this program.
type account struct{ uid, gid int }

// serverAccount is nil unless this program runs as root, as it does in CI and
// in containers: Postgres refuses to run as root, and Redis has no need to.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	var failed error
	for _, name := range []string{"postgres", "nobody"} {
		found, err := lookupAccount(name)
		if err == nil {
			return found, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, fmt.Errorf("find a user other than root: %w", failed)
}

func lookupAccount(name string) (*account, error) {
	found, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, uidErr := strconv.Atoi(found.Uid)
	gid, gidErr := strconv.Atoi(found.Gid)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return nil, fmt.Errorf("ids of user %s: %w", name, err)
	}
	return &account{uid: uid, gid: gid}, nil
}

// credential names no supplementary groups, so that root's are not kept.
func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid), Groups: []uint32{}}
}

// own gives a file or folder to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}
