package cli

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"rutile/internal/access"
)

const statusInterrupted = 130

// status is the one table from codes to exit statuses.
func status(err error) int {
	switch access.CodeOf(err) {
	case "":
		return 0
	case access.CodeUsage:
		return 2
	case access.CodeFindings:
		return 3
	case access.CodeDenied:
		return 4
	case access.CodePartial:
		return 5
	case access.CodeUnauthenticated:
		return 6
	default:
		return 1
	}
}

// exits says in help how a command may end besides 0, 1, 2 and 130.
func exits(codes []access.Code) string {
	words := map[int]string{0: "done", 1: "error", 2: "wrong usage", 3: "findings", 4: "denied", 5: "partial", 6: "not authenticated", statusInterrupted: "interrupted"}
	list := []int{0, 1, 2, statusInterrupted}
	for _, c := range codes {
		list = append(list, status(&access.Error{Code: c}))
	}
	slices.Sort(list)
	var out []string
	for _, n := range slices.Compact(list) {
		out = append(out, strconv.Itoa(n)+" "+words[n])
	}
	return strings.Join(out, ", ")
}

// What commands that call the gateway, and those that also compare, may return.
func calling() []access.Code {
	return []access.Code{access.CodeDenied, access.CodeUnauthenticated}
}

// ended is the error of a command that has said what there is to say.
func ended(code access.Code) error { return &access.Error{Code: code} }

// message is what the person reads about err, "" if it was said already.
func (a *app) message(err error) string {
	if err == nil {
		return ""
	}
	var e *access.Error
	if !errors.As(err, &e) {
		return lines(err.Error())
	}
	if e == err && e.Msg == "" { //nolint:errorlint // an error that only carries a status is never wrapped
		return ""
	}
	msg := err.Error()
	if a.verbose && e.Err != nil && !strings.Contains(msg, e.Err.Error()) {
		msg += " (" + e.Err.Error() + ")"
	}
	return lines(msg)
}
