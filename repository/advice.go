package repository

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// unreadableURL is the error for a database URL that the driver does not take. The
// driver's own may quote the URL, and with it the password; it is told only where the
// environment alone makes it.
func unreadableURL() error {
	if _, err := pq.NewConfig("host=localhost user=x dbname=x"); err != nil {
		return fmt.Errorf("database URL: a variable of libpq's in the environment does not work with this driver: %v; unset it, and put what it says into DATABASE_URL", err)
	}
	return errors.New("database URL: not readable; want postgres://user:password@host:5432/name")
}

// advised adds to an error of connecting or migrating what to do about its cause,
// where that is known and the text does not say it.
func advised(err error) error {
	if text := advice(err); text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

func advice(err error) string {
	var unknownCA x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	switch {
	case errors.Is(err, pq.ErrSSLNotSupported):
		return "add sslmode=disable to DATABASE_URL where the network to it is trusted, or set ssl = on in Postgres"
	case errors.As(err, &unknownCA):
		return "its certificate has an unknown issuer: name the certificate of its authority in DATABASE_URL with sslrootcert=FILE"
	case errors.As(err, &wrongName):
		return "name the host in DATABASE_URL as its certificate does, or give sslmode=verify-ca"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "something accepts the connection there and closes it: is it Postgres, or a proxy without a server behind it?"
	}
	if e := pq.As(err); e != nil {
		return codeAdvice[e.Code]
	}
	return ""
}

// codeAdvice is what to do about what Postgres says itself.
var codeAdvice = map[pqerror.Code]string{
	pqerror.InvalidPassword:                   "correct the user and the password in DATABASE_URL, with special characters as %XX",
	pqerror.InvalidAuthorizationSpecification: "create the role, or let it in from this machine in pg_hba.conf; where that says \"no encryption\", give sslmode=require in DATABASE_URL",
	pqerror.InvalidCatalogName:                "create it with 'createdb --encoding=UTF8 --template=template0 NAME', or correct its name in DATABASE_URL",
	pqerror.InsufficientPrivilege:             "run 'revalidator migrate' as the owner of the schema, or grant the role what is missing: see deploy/postgres-role.sql",
	pqerror.ReadOnlySQLTransaction:            "set DATABASE_URL to the primary, or default_transaction_read_only to off",
	pqerror.TooManyConnections:                "raise max_connections, or put fewer processes or a pooling proxy before it",
	pqerror.UndefinedObject:                   "DATABASE_URL or PGOPTIONS has a parameter that neither this driver nor Postgres knows: leave it out",
}
