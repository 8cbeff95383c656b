package devstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// downloadPostgres returns a folder of Postgres's programs in a cache, which it
// fills when it is empty. The programs run as an installed Postgres does, because
// the library leaves an orphan when this program is killed.
func downloadPostgres(ctx context.Context, logger *slog.Logger) (string, error) {
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	const version = embeddedpostgres.V16
	home := filepath.Join(cache, "revalidator", "postgres-"+string(version))
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	// Test programs that start at the same time download once.
	lock, err := lockFolder(home, 0)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	programs := filepath.Join(home, "bin")
	if hasAll(programs, []string{"initdb", "postgres"}) {
		return programs, nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	logger.Warn("Postgres is not installed: downloading it, once", slog.String("version", string(version)), slog.String("folder", home))
	if err := fetch(version, home); err != nil {
		// What was unpacked in part would be taken for the whole next time.
		return "", errors.Join(err, os.RemoveAll(programs))
	}
	return programs, nil
}

// cacheFolder is the user's own, or for root one that the account of the server
// can read as well.
func cacheFolder() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache", nil
	}
	return os.UserCacheDir()
}

// fetch downloads and unpacks the programs. The library can do so only in the
// course of a first start.
func fetch(version embeddedpostgres.PostgresVersion, home string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "pg-fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	var output bytes.Buffer
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(version).
		Port(uint32(port)).
		BinariesPath(home).
		CachePath(filepath.Join(home, "archive")).
		RuntimePath(scratch).
		StartTimeout(startTimeout).
		Logger(&output))
	err = server.Start()
	if err == nil {
		return server.Stop()
	}
	if os.Geteuid() == 0 && unpacked(scratch) {
		return nil // Postgres itself refuses to run as root, and will have an account.
	}
	if output.Len() > 0 {
		err = fmt.Errorf("%w\n%s", err, output.String())
	}
	return err
}

// unpacked reports whether a start came as far as to unpack everything: the
// library removes its scratch folder first, and makes it again after that.
func unpacked(scratch string) bool {
	_, err := os.Stat(scratch)
	return err == nil
}
