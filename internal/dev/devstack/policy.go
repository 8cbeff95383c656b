package devstack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// policyFile is what Debian's packages ask whether they may start a service.
// https://manpages.debian.org/bookworm/init-system-helpers/invoke-rc.d.8.en.html
const policyFile = "/usr/sbin/policy-rc.d"

// policyText answers no, which is 101.
const policyText = "#!/bin/sh\n# revalidator: no service starts while its packages are installed.\nexit 101\n"

// withoutServices runs act while no package may start a service: a server of
// Debian's would take the usual port and run on, and nothing here uses it.
func withoutServices(policy string, act func() error) (err error) {
	lock, err := lockFolder(filepath.Dir(policy), 0)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := forbidServices(policy); err != nil {
		return fmt.Errorf("forbid services to start: %w", err)
	}
	defer func() { err = errors.Join(err, allowServices(policy)) }()
	return act()
}

// kept is where the machine's own policy lies meanwhile.
func kept(policy string) string { return policy + ".kept" }

func forbidServices(policy string) error {
	text, err := os.ReadFile(policy)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case string(text) == policyText:
		// Of a run that was killed: what that kept is the machine's own.
		return nil
	default:
		if err := os.Rename(policy, kept(policy)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(policy, []byte(policyText), 0o755); err != nil {
		return err
	}
	return os.Chmod(policy, 0o755) // whatever the umask
}

func allowServices(policy string) error {
	err := os.Rename(kept(policy), policy)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Remove(policy)
	}
	return err
}
