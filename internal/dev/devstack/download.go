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

// downloadPostgres returns a folder of Postgres's programs in the user's
// cache, which it fills when it is empty. The library starts what it fetched,
// once; from then on the programs run as an installed Postgres does, because
// the library's way leaves an orphan when this program is killed.
func downloadPostgres(ctx context.Context, logger *slog.Logger) (string, error) {
	if os.Geteuid() == 0 {
		return "", errors.New("not as root")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	const version = embeddedpostgres.V16
	home := filepath.Join(cache, "revalidator", "postgres-"+string(version))
	if err := os.MkdirAll(home, 0o700); err != nil {
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
	logger.Info("downloading postgres, once", slog.String("version", string(version)), slog.String("folder", home))
	if err := fetch(version, home); err != nil {
		return "", err
	}
	return programs, nil
}

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
	if err := server.Start(); err != nil {
		return fmt.Errorf("%w\n%s", err, output.String())
	}
	return server.Stop()
}
