package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"rutile/internal/access"
)

// fault is what went wrong in a database, as far as somebody can act on it.
type fault int

const (
	faultUnknown  fault = iota
	faultStale          // the database took the transaction back: it may be tried again
	faultLocked         // another process holds it
	faultLost           // the connection is gone, or there never was one
	faultFull           // no space left
	faultReadOnly       // it cannot be written
	faultIO             // its files cannot be read or written
	faultDamaged        // its files are not what they should be
	faultRefused        // the user, the password or the database is not accepted
	faultSlow           // it gave up after a time limit
	faultRelation       // a row refers to one that is not there
	faultTooLarge       // a value is larger than it can hold
)

// next says for each fault what the user reads: what it is and what to do.
func (f fault) next(place string) (access.Code, string) {
	switch f {
	case faultStale:
		return access.CodeUnavailable, "others keep changing the same rows of " + place + ": try again"
	case faultLocked:
		return access.CodeUnavailable, place + " is locked by another process: end it, or wait for it, and try again"
	case faultLost:
		return access.CodeUnavailable, place + " cannot be reached: check that it runs and accepts connections of the kind the store address asks for (host, port, sslmode), and try again"
	case faultFull:
		return access.CodeUnavailable, "no space is left for " + place + ": free some and try again"
	case faultReadOnly:
		return access.CodeUnavailable, place + " cannot be written: check its permissions, and that it is not a read-only copy"
	case faultIO:
		return access.CodeUnavailable, place + " cannot be read or written: check its permissions and the disk it is on"
	case faultDamaged:
		return access.CodeUnavailable, place + " is damaged or no database: restore a backup"
	case faultRefused:
		return access.CodeUnavailable, place + " refuses the user, the password or the database name: check the store address"
	case faultSlow:
		return access.CodeUnavailable, place + " did not answer in time: look for what keeps it busy, and try again"
	case faultRelation:
		return access.CodeInvalid, "a tool needs a registered server: register its server, or remove its tools first"
	case faultTooLarge:
		return access.CodeTooLarge, "a value is larger than " + place + " can hold"
	default:
		return "", ""
	}
}

// driverError is all that is kept of a driver's error: drivers quote SQL and
// values in theirs.
type driverError string

func (e driverError) Error() string { return string(e) }

// fault turns an error of a driver into one that may leave the package. Errors
// that are ours pass.
func (s *Store) fault(ctx context.Context, doing string, err error) error {
	var ours *access.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours):
		return err
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return &access.Error{Code: access.CodeTimeout, Msg: doing + ": " + s.dialect.place + " did not answer in time: try again", Err: context.DeadlineExceeded}
	case ctx.Err() != nil, errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, context.Canceled)
	}
	kind, id := s.dialect.classify(err)
	cause := driverError(s.dialect.name + " error " + id)
	if code, next := kind.next(s.dialect.place); code != "" {
		return &access.Error{Code: code, Msg: doing + ": " + next, Err: cause}
	}
	var unreadable rowError
	if errors.As(err, &unreadable) {
		return fmt.Errorf("%s: %w", doing, unreadable)
	}
	return fmt.Errorf("%s: %w", doing, cause)
}

// rowError says which stored row this version cannot read.
type rowError struct{ table, id string }

func (e rowError) Error() string {
	return fmt.Sprintf("the row %q of %s holds what this version cannot read: it was changed by hand or by another version", e.id, e.table)
}

// closed reports whether the error is database/sql's for a closed database or a
// connection it gave up.
func closed(err error) bool {
	return errors.Is(err, sql.ErrConnDone) || err.Error() == "sql: database is closed"
}
