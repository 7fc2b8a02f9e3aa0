package access

import (
	"errors"
	"fmt"
	"strings"
)

// Code classifies an error whose message the caller should read. Each edge has
// one table that maps codes to its own: JSON-RPC, HTTP, exit status.
type Code string

// The codes.
const (
	CodeInvalid         Code = "invalid"         // the input is wrong; the message names the place
	CodeUsage           Code = "usage"           // the command's words are wrong
	CodeUnauthenticated Code = "unauthenticated" // no valid credential
	CodeDenied          Code = "denied"          // policy or role refuses
	CodeNotFound        Code = "not_found"
	CodeConflict        Code = "conflict"    // the object changed, or the state does not allow it
	CodeTooLarge        Code = "too_large"   // over a stated bound
	CodeUnavailable     Code = "unavailable" // try again: a dependency is down
	CodeTimeout         Code = "timeout"
	CodeUpstream        Code = "upstream"    // the upstream broke the protocol
	CodeEvidence        Code = "evidence"    // evidence cannot be kept, so nothing was done
	CodeUnsupported     Code = "unsupported" // known, but not offered
	CodeFindings        Code = "findings"    // done, and something was found
	CodePartial         Code = "partial"     // some of it was done
	CodeInternal        Code = "internal"    // ours; the text stays in the log
)

// Codes lists every code, so that each edge can test its table for all.
func Codes() []Code {
	return []Code{CodeInvalid, CodeUsage, CodeUnauthenticated, CodeDenied, CodeNotFound, CodeConflict, CodeTooLarge,
		CodeUnavailable, CodeTimeout, CodeUpstream, CodeEvidence, CodeUnsupported, CodeFindings, CodePartial, CodeInternal}
}

// Error is an error the caller should read: Msg says what happened and why and
// names the next step. Err is for the log only.
type Error struct {
	Code Code
	Msg  string
	Err  error
}

// Errorf makes an Error. A %w operand becomes Err.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// Error returns Msg.
func (e *Error) Error() string { return e.Msg }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Reasons is err with every cause below it, which Errors keep out of their text.
// It is for the log only.
func Reasons(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	var e *Error
	if errors.As(err, &e) && e.Err != nil {
		if below := Reasons(e.Err); !strings.Contains(text, below) {
			text += ": " + below
		}
	}
	return text
}

// CodeOf returns the code of the first Error in err's chain, CodeInternal if
// there is none, "" if err is nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
