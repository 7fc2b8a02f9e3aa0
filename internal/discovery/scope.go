package discovery

import (
	"path"
	"strings"
)

// scopes proposes what a server may touch from what it is given: folders, hosts
// and databases. User and password are dropped.
func (d *Describer) scopes(p *peeled) []DataScope {
	var out []DataScope
	seen := map[string]bool{}
	add := func(name, from string) {
		if name != "" && !seen[name] {
			seen[name] = true
			out = append(out, DataScope{Name: name, From: from})
		}
	}
	for _, m := range p.mounts {
		if pathStart.MatchString(m) || variable.MatchString(m) {
			add("fs:"+d.path(m), "mount")
		}
	}
	for i, a := range p.args {
		if o := optionOf(p.args, i); o.joined && SecretName(o.bare) || i > 0 && optionOf(p.args, i-1).secret() {
			continue // a secret may look like a path
		}
		if _, value, ok := strings.Cut(a, "="); ok && strings.HasPrefix(a, "-") {
			a = value
		}
		switch {
		case urlStart.MatchString(a):
			add(d.database(a), "argument")
		case a == "~" || a == "$HOME" || a == "${HOME}" || a == "%USERPROFILE%":
			add("fs:~", "argument")
		case pathStart.MatchString(a):
			add("fs:"+d.path(a), "argument")
		}
	}
	return out
}

// database names what a connection string or an address leads to.
func (d *Describer) database(s string) string {
	u, err := parseAddress(s)
	if err != nil {
		return ""
	}
	switch scheme := strings.ToLower(u.Scheme); scheme {
	case "postgres", "postgresql", "mysql", "mariadb", "mongodb", "mongodb+srv", "redis", "rediss", "mssql", "sqlserver", "oracle", "clickhouse", "snowflake", "neo4j", "bolt", "cassandra", "cockroachdb":
		name := path.Base(u.Path)
		if name == "." || name == "/" || Sensitive(name) {
			name = ""
		}
		return strings.TrimSuffix("db:"+hostOf(u)+"/"+name, "/")
	case "sqlite", "sqlite3", "file":
		return "fs:" + d.path(u.Path+u.Opaque)
	case "s3", "gs", "az", "abfs":
		return scheme + ":" + strings.ToLower(u.Host)
	case "http", "https", "ws", "wss":
		return "net:" + hostOf(u)
	}
	return ""
}

// Broad reports whether a scope is a whole home, a whole disk or everything a
// person can reach.
func (s DataScope) Broad() bool {
	switch s.Name {
	case "fs:~", "fs:/", "fs:$HOME", "fs:${HOME}", "fs:%USERPROFILE%", "fs:/home", "fs:/Users", "fs:/root", "fs:C:/Users":
		return true
	}
	drive, ok := strings.CutPrefix(s.Name, "fs:")
	return ok && len(drive) <= 3 && len(drive) >= 2 && drive[1] == ':'
}
