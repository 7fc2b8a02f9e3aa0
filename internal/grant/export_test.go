package grant

// Move answers as the table of a kind of object does.
func Move(kind string, from, to State) error {
	return map[string]table{"request": requestTable(), "grant": grantTable(), "use": useTable(), "task": taskTable(), "review": reviewTable()}[kind].move(kind, from, to)
}
