package grant

import "rutile/internal/access"

// State is where a request, a grant, a use or a task is in its life (access.md
// 3.1).
type State string

// The states of a request.
const (
	RequestPending    State = "pending"
	RequestIssued     State = "issued" // a grant stands for it
	RequestDenied     State = "denied"
	RequestExpired    State = "expired"
	RequestWithdrawn  State = "withdrawn"
	RequestInvalid    State = "invalidated" // the definition or the task changed
	RequestSuperseded State = "superseded"  // another request covers it
)

// The states of a grant.
const (
	GrantScheduled     State = "scheduled" // its time has not come
	GrantActive        State = "active"
	GrantSuspended     State = "suspended" // the definition changed
	GrantExhausted     State = "exhausted"
	GrantExpired       State = "expired"
	GrantCompleted     State = "completed"      // its task is closed
	GrantWithdrawn     State = "withdrawn"      // what let it be asked for does not reach that far any more
	GrantRevoking      State = "revoking"       // issuers are asked to end what was minted under it
	GrantRevokePartial State = "revoke_partial" // not all of that has ended: Grant.Left says what
	GrantRevoked       State = "revoked"
)

// The states of a use.
const (
	UseReserved  State = "reserved"
	UseCommitted State = "committed"
	UseReleased  State = "released" // the server never received the call
	UseUnknown   State = "unknown"  // nobody knows: it counts as used
)

// The states of a task.
const (
	TaskOpen    State = "open"
	TaskClosed  State = "closed"
	TaskExpired State = "expired"
)

// table says which states follow which. A state that is no key is no state of the
// table; one without followers is an end.
type table map[State][]State

func requestTable() table {
	return table{
		RequestPending: {RequestIssued, RequestDenied, RequestExpired, RequestWithdrawn, RequestInvalid, RequestSuperseded},
		RequestIssued:  nil, RequestDenied: nil, RequestExpired: nil, RequestWithdrawn: nil, RequestInvalid: nil, RequestSuperseded: nil,
	}
}

func grantTable() table {
	return table{
		GrantScheduled:     {GrantActive, GrantSuspended, GrantExpired, GrantCompleted, GrantWithdrawn, GrantRevoking},
		GrantActive:        {GrantSuspended, GrantExhausted, GrantExpired, GrantCompleted, GrantWithdrawn, GrantRevoking},
		GrantSuspended:     {GrantActive, GrantExhausted, GrantExpired, GrantCompleted, GrantWithdrawn, GrantRevoking},
		GrantRevoking:      {GrantRevoked, GrantRevokePartial},
		GrantRevokePartial: {GrantRevoked},
		GrantExhausted:     nil, GrantExpired: nil, GrantCompleted: nil, GrantWithdrawn: nil, GrantRevoked: nil,
	}
}

// Over reports whether a grant in this state permits nothing any more, and never will
// again. What was minted under it may live on at its issuer.
func Over(s State) bool {
	return s != GrantScheduled && s != GrantActive && s != GrantSuspended
}

func useTable() table {
	return table{
		UseReserved:  {UseCommitted, UseReleased, UseUnknown},
		UseCommitted: nil, UseReleased: nil, UseUnknown: nil,
	}
}

func taskTable() table {
	return table{TaskOpen: {TaskClosed, TaskExpired}, TaskClosed: nil, TaskExpired: nil}
}

// move answers whether what may go from one state to another; where it may not,
// the error is a CodeConflict that says what it is now.
func (t table) move(what string, from, to State) error {
	for _, s := range t[from] {
		if s == to {
			return nil
		}
	}
	return access.Errorf(access.CodeConflict, "%s is %s and cannot become %s", what, from, to)
}

// ended reports whether nothing follows s.
func (t table) ended(s State) bool { return len(t[s]) == 0 }

// RequestStates, GrantStates, UseStates and TaskStates list what may be stored.
func RequestStates() []State { return requestTable().states() }

// GrantStates lists the states of a grant.
func GrantStates() []State { return grantTable().states() }

// UseStates lists the states of a use.
func UseStates() []State { return useTable().states() }

// TaskStates lists the states of a task.
func TaskStates() []State { return taskTable().states() }

func (t table) states() []State {
	out := make([]State, 0, len(t))
	for s := range t {
		out = append(out, s)
	}
	return out
}
