package grant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Limits bound what is used under a grant, besides the number of its uses. The
// zero value bounds nothing.
type Limits struct {
	Budget      Budget `json:"budget,omitzero"`
	Concurrency int64  `json:"concurrencyMax,omitempty"` // calls under way at once
	Window      Window `json:"window,omitzero"`
	BytesOut    int64  `json:"bytesOutMax,omitempty"` // of all results together
	Idle        int64  `json:"idleSeconds,omitempty"` // without a use, and it ends
}

// Budget is an amount all calls under a grant share.
type Budget struct {
	Unit   string `json:"unit"`   // for readers, for example EUR-cent
	Amount int64  `json:"amount"` // in whole units: money in minor ones
	Arg    string `json:"arg"`    // JSON pointer to the argument that says how much a call takes
}

// Window bounds the uses in any stretch of time that long.
type Window struct {
	Uses    int64 `json:"uses"`
	Seconds int64 `json:"seconds"`
}

// Bounds of limits.
const (
	maxAmount      = math.MaxInt64 / 4 // so that no sum of a few overflows
	maxConcurrency = 10_000
	maxWindowUses  = 10_000 // the store counts them one by one
	maxBytesOut    = 1 << 50
	maxUnit        = 32
)

// AmountOf is what one call takes of the budget. Only a whole number from 0 on, in
// plain digits, is an amount; whatever else stands there, or nothing, is refused.
func (b Budget) AmountOf(args rawjson.Value) (int64, error) {
	path, err := parsePointer(b.Arg)
	if err != nil {
		return 0, access.Errorf(access.CodeInvalid, "the argument a budget counts, %s: %w", quote(b.Arg), err)
	}
	v, why := follow(args, path)
	if why != "" {
		return 0, access.Errorf(access.CodeDenied, "argument %s, which the budget counts: %s", quote(b.Arg), why)
	}
	n, ok := v.Int64()
	if !ok || n < 0 || n > maxAmount {
		return 0, access.Errorf(access.CodeDenied, "argument %s, which the budget counts, must be a whole number from 0 on", quote(b.Arg))
	}
	return n, nil
}

// ReadLimits reads the JSON form of limits strictly. What they must be where they are
// narrowed is not looked at.
func ReadLimits(v rawjson.Value) (Limits, error) {
	var l Limits
	dec := json.NewDecoder(bytes.NewReader(v.Raw()))
	dec.DisallowUnknownFields()
	if v.Kind() != rawjson.Object || dec.Decode(&l) != nil {
		return Limits{}, access.Errorf(access.CodeInvalid, "limits must be an object with any of budget {unit, amount, arg}, concurrencyMax, window {uses, seconds}, bytesOutMax, idleSeconds, and whole numbers")
	}
	return l, nil
}

// Validate returns an error that names the first limit that is none.
func (l Limits) Validate() error {
	if b := l.Budget; b != (Budget{}) {
		path, err := parsePointer(b.Arg)
		switch {
		case err != nil:
			return access.Errorf(access.CodeInvalid, "budget: arg %s: %w", quote(b.Arg), err)
		case len(path) == 0:
			return access.Errorf(access.CodeInvalid, "budget: arg is the JSON pointer of an argument, for example /amount")
		case b.Amount < 1 || b.Amount > maxAmount:
			return access.Errorf(access.CodeInvalid, "budget: amount must be a whole number from 1 to %d", int64(maxAmount))
		case b.Unit == "" || !words(b.Unit, maxUnit):
			return access.Errorf(access.CodeInvalid, "budget: unit must be one word of at most %d bytes, for example EUR-cent", maxUnit)
		}
	}
	switch w := l.Window; {
	case l.Concurrency < 0 || l.Concurrency > maxConcurrency:
		return access.Errorf(access.CodeInvalid, "concurrencyMax must be from 1 to %d", maxConcurrency)
	case w != (Window{}) && (w.Uses < 1 || w.Uses > maxWindowUses):
		return access.Errorf(access.CodeInvalid, "window: uses must be from 1 to %d", maxWindowUses)
	case w != (Window{}) && (w.Seconds < 1 || Seconds(w.Seconds) > maxLife):
		return access.Errorf(access.CodeInvalid, "window: it lasts between 1 second and %v", maxLife)
	case l.BytesOut < 0 || l.BytesOut > maxBytesOut:
		return access.Errorf(access.CodeInvalid, "bytesOutMax must be from 1 to %d", int64(maxBytesOut))
	case l.Idle < 0 || Seconds(l.Idle) > maxLife:
		return access.Errorf(access.CodeInvalid, "the time without a use must be between 1 second and %v", maxLife)
	}
	return nil
}

// narrowed is l narrowed by what is wanted. What is not wanted stays as it is, and
// what is wider is refused with a CodeDenied error.
func (l Limits) narrowed(want Limits) (Limits, error) {
	if want.Budget != (Budget{}) && l.Budget != (Budget{}) { // who narrows need not repeat what is counted
		if want.Budget.Unit == "" {
			want.Budget.Unit = l.Budget.Unit
		}
		if want.Budget.Arg == "" {
			want.Budget.Arg = l.Budget.Arg
		}
		if want.Budget.Amount == 0 {
			want.Budget.Amount = l.Budget.Amount
		}
	}
	if err := want.Validate(); err != nil {
		return l, err
	}
	out := want
	if want.Budget == (Budget{}) {
		out.Budget = l.Budget
	}
	if want.Window == (Window{}) {
		out.Window = l.Window
	}
	for _, f := range []struct{ bound, want, out *int64 }{
		{&l.Concurrency, &want.Concurrency, &out.Concurrency}, {&l.BytesOut, &want.BytesOut, &out.BytesOut}, {&l.Idle, &want.Idle, &out.Idle},
	} {
		if *f.want == 0 {
			*f.out = *f.bound
		}
	}
	return out, l.holds(out)
}

// Describe lists what l bounds, for people.
func (l Limits) Describe() string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if b := l.Budget; b != (Budget{}) {
		add("%d %s in all, by argument %s", b.Amount, b.Unit, b.Arg)
	}
	if l.Concurrency > 0 {
		add("%s at once", access.Count(l.Concurrency, "call"))
	}
	if w := l.Window; w != (Window{}) {
		add("%s in any %v", access.Count(w.Uses, "call"), Seconds(w.Seconds))
	}
	if l.BytesOut > 0 {
		add("%s of results", access.Count(l.BytesOut, "byte"))
	}
	if l.Idle > 0 {
		add("ends %v after the last use", Seconds(l.Idle))
	}
	return strings.Join(out, "; ")
}

// holds returns a CodeDenied error where o lets more through than l.
func (l Limits) holds(o Limits) error {
	wider := func(what string, bound, got int64) error {
		return access.Errorf(access.CodeDenied, "%s: at most %d, not %s", what, bound, orNone(got))
	}
	over := func(bound, got int64) bool { return bound > 0 && (got == 0 || got > bound) }
	switch b, w := l.Budget, l.Window; {
	case b != (Budget{}) && (o.Budget.Unit != b.Unit || o.Budget.Arg != b.Arg):
		return access.Errorf(access.CodeDenied, "budget: it counts %s of argument %s and nothing else", quote(b.Unit), quote(b.Arg))
	case over(b.Amount, o.Budget.Amount):
		return wider("budget", b.Amount, o.Budget.Amount)
	case over(l.Concurrency, o.Concurrency):
		return wider("calls at once", l.Concurrency, o.Concurrency)
	case over(w.Uses, o.Window.Uses):
		return wider("uses in a window", w.Uses, o.Window.Uses)
	case w.Seconds > o.Window.Seconds:
		return access.Errorf(access.CodeDenied, "window: of %s or more, not %d", access.Count(w.Seconds, "second"), o.Window.Seconds)
	case over(l.BytesOut, o.BytesOut):
		return wider("bytes of results", l.BytesOut, o.BytesOut)
	case over(l.Idle, o.Idle):
		return wider("seconds without a use", l.Idle, o.Idle)
	}
	return nil
}

// orNone is a number somebody asked for.
func orNone(n int64) string {
	if n == 0 {
		return "without limit"
	}
	return strconv.FormatInt(n, 10)
}

// Busy says that a grant covers a call, but not at this moment: too many are under
// way, or were made in its window. It is a CodeConflict error.
type Busy struct {
	Until time.Time // a use falls out of the window; zero where nobody knows
	Why   string
}

// Error is Why.
func (b *Busy) Error() string { return b.Why }

// Unwrap makes it a conflict.
func (b *Busy) Unwrap() error { return &access.Error{Code: access.CodeConflict, Msg: b.Why} }
