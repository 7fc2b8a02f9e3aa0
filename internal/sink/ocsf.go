package sink

import (
	"encoding/json"
	"slices"

	"rutile/internal/audit"
)

// The version of the Open Cybersecurity Schema Framework that is written.
const ocsfVersion = "1.8.0"

type object = map[string]any

// ocsf is an OCSF event: API Activity (6003) for what agents ask, Entity Management
// (3004) for what operators change, Application Lifecycle (6002) for the log.
func (e encoder) ocsf(x *audit.Told) ([]byte, error) {
	r := recordOf(x)
	out := object{
		"time":        r.At.UnixMilli(),
		"severity_id": r.severity(),
		"status_id":   1,
		"metadata": object{
			"version": ocsfVersion, "uid": r.ID, "sequence": r.Index, "log_name": "evidence", "log_provider": r.Origin,
			"product": object{"name": "Rutile", "vendor_name": "Rutile", "version": e.version},
		},
		"unmapped": object{"rutile": r},
	}
	if r.failed() {
		out["status_id"] = 2
	}
	switch r.Kind {
	case KindChange:
		r.ocsfChange(out)
	case KindLog:
		e.ocsfLog(&r, out)
	default:
		r.ocsfCall(out)
	}
	return json.Marshal(out)
}

// classify sets class and activity.
func classify(out object, category, class, activity int, name string) {
	out["category_uid"], out["class_uid"], out["activity_id"], out["type_uid"] = category, class, activity, class*100+activity
	if activity == 99 {
		out["activity_name"] = name
	}
}

func (r *record) ocsfCall(out object) {
	const read, other = 2, 99
	activity := other
	if r.TargetKind == "resource" || r.TargetKind == "prompt" || r.Kind == KindList || r.Tier != nil && *r.Tier == 0 {
		activity = read
	}
	classify(out, 6, 6003, activity, either(r.Method, "request"))
	metadata := out["metadata"].(object)
	metadata["profiles"] = []string{"ai_operation", "security_control", "trace"}
	api := object{"operation": either(r.Method, "unknown")}
	put(api, "version", r.Version)
	if r.Server != "" {
		api["service"] = object{"name": r.Server}
	}
	if r.Decision != "" {
		api["request"] = object{"uid": r.Decision}
		metadata["correlation_uid"] = r.Decision
	}
	out["api"] = api
	actor := object{}
	if r.Subject != "" {
		user := object{"uid": r.Subject}
		put(user, "domain", r.Issuer)
		actor["user"] = user
	}
	if r.Session != "" {
		actor["session"] = object{"uid": r.Session}
	}
	put(actor, "app_uid", r.Agent)
	if len(actor) == 0 {
		actor["app_name"] = "unknown"
	}
	out["actor"] = actor
	out["src_endpoint"] = object{"svc_name": either(r.Agent, "unknown")}
	if r.Agent != "" {
		agent := object{"uid": r.Agent, "name": r.Agent, "type_id": 0}
		put(agent, "instance_uid", r.Session)
		out["ai_agent"] = agent
	}
	if r.Server != "" {
		talk := object{"ai_role_id": 3, "service": object{"name": r.Server}}
		put(talk, "uid", r.Session)
		out["message_context"] = talk
	}
	if r.Target != "" {
		out["resources"] = []object{{"name": r.Target, "type": r.TargetKind, "uid": r.Server + "/" + r.Target}}
	}
	if r.Trace != "" {
		out["trace"] = object{"uid": r.Trace}
	}
	if !r.Began.IsZero() && r.Kind == KindCall {
		out["start_time"], out["end_time"], out["duration"] = r.Began.UnixMilli(), r.At.UnixMilli(), r.Micros/1000
	}
	put(out, "status_detail", either(r.Status, r.Class))
	r.control(out)
}

// control sets the attributes of the profile security_control.
func (r *record) control(out object) {
	d := r.decided()
	of, ok := map[string][2]int{ // action, disposition
		"permit": {1, 1}, "deny": {2, 2}, "mask": {4, 11}, "require_approval": {2, 23}, "rate_limit": {2, 25},
		"quarantine": {2, 4}, "revoke": {2, 24}, "terminate": {2, 6},
	}[d]
	if !ok {
		of = [2]int{0, 0}
	}
	out["action_id"], out["disposition_id"], out["is_alert"] = of[0], of[1], r.severity() >= 4
	if all := slices.Concat(r.Forbids, r.Policies); len(all) > 0 {
		out["policy"] = object{"uid": all[0], "name": all[0]}
	}
}

func (r *record) ocsfChange(out object) {
	activity := 3 // update
	switch r.Verb {
	case "create", "issue", "open", "enroll", "add":
		activity = 1
	case "remove", "retire", "revoke", "erase", "delete":
		activity = 4
	}
	classify(out, 3, 3004, activity, "")
	entity := object{"name": either(r.Object, "unknown"), "type": either(r.ObjectKind, "unknown"), "type_id": 99}
	put(entity, "uid", r.Object)
	out["entity"] = entity
	out["actor"] = object{"user": object{"name": either(r.Actor, "unknown"), "uid": either(r.Actor, "unknown")}}
	put(out, "comment", r.Reason)
	put(out, "status_detail", r.Verb)
	if r.Change != "" {
		out["metadata"].(object)["correlation_uid"] = r.Change
	}
}

func (e encoder) ocsfLog(r *record, out object) {
	activity := 99
	switch r.Type {
	case "log.open":
		activity = 3 // start
	case "log.close":
		activity = 4 // stop
	}
	classify(out, 6, 6002, activity, r.Type)
	out["app"] = object{"name": "Rutile", "vendor_name": "Rutile", "version": e.version}
	put(out, "status_detail", r.Why)
}

func put(o object, key, v string) {
	if v != "" {
		o[key] = v
	}
}
