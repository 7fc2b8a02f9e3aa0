package mcpproxy

// headerTask names the task a request belongs to, for clients that cannot write
// _meta. A name proves nothing: the gate holds it to the open tasks of the
// caller.
const headerTask = "Rutile-Task"

// taskFault says what is wrong with how a request names its task, "" if nothing
// is: one name, written once.
func (in *inbound) taskFault() string {
	v, headers := in.msg.meta.Get(metaTask), in.r.Header[headerTask]
	name, ok := v.Str()
	switch {
	case v.Exists() && (!ok || name == "" || len(name) > 128 || hasControl(name)):
		return "/params/_meta/" + metaTask + " must be a string of 1 to 128 characters"
	case len(headers) > 1:
		return "the header " + headerTask + " is there more than once"
	case len(headers) == 1 && v.Exists() && headers[0] != name:
		return "the header " + headerTask + " and /params/_meta/" + metaTask + " name two tasks"
	}
	return ""
}
