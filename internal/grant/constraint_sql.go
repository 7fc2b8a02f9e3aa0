package grant

import (
	"slices"

	"rutile/internal/rawjson"
)

// sqlClass orders what a statement may do. A greater class is less certain too:
// what cannot be told is ddl.
type sqlClass int

const (
	sqlRead sqlClass = iota // one statement that reads
	sqlDML                  // one statement that may change or lock rows
	sqlDDL                  // anything
)

func parseSQLClass(s string) (sqlClass, bool) {
	i := slices.Index([]string{"read", "dml", "ddl"}, s)
	return sqlClass(i), i >= 0
}

// maxSQL bounds a statement, in bytes; a longer one is ddl.
const maxSQL = 64 << 10

func (c sqlClass) match(v rawjson.Value) bool {
	b, ok := text(v)
	return ok && classifySQL(b) <= c
}

// ClassifySQL returns "read", "dml" or "ddl": the least class the text provably
// is of, whichever of the common dialects reads it. It knows words, not
// grammars, so it errs upwards: a column named "update" makes a read dml. What
// dialects read differently (comments, backslashes, dollar quotes, brackets) and
// functions that are not on a short list of harmless ones make it ddl. Views,
// operators, casts and rules that have effects of their own it cannot see.
func ClassifySQL(text string) string {
	return []string{"read", "dml", "ddl"}[classifySQL([]byte(text))]
}

func classifySQL(src []byte) sqlClass {
	if len(src) > maxSQL {
		return sqlDDL
	}
	r := sqlReader{src: src}
	class := sqlRead
	for {
		switch tok := r.next(); tok.kind {
		case sqlEnd:
			if r.count == 0 {
				return sqlDDL
			}
			return class
		case sqlUncertain:
			return sqlDDL
		default:
			class = max(class, r.judge(tok))
		}
	}
}

// judge returns the class of the statement as far as the token shows it, and
// remembers what the next ones need.
func (r *sqlReader) judge(tok sqlToken) sqlClass {
	defer r.passed(tok)
	if r.ended { // something after the semicolon
		return sqlDDL
	}
	if r.count == 0 && (tok.kind != sqlWord || !slices.Contains(sqlFirst, tok.word)) {
		return sqlDDL
	}
	if r.last.word == "do" && tok.word != "update" && tok.word != "nothing" {
		return sqlDDL // DO is a statement of its own but for ON CONFLICT … DO
	}
	switch {
	case tok.char == ';':
		r.ended = true
	case tok.char == '(':
		return r.call()
	case tok.kind == sqlWord:
		return r.word(tok.word)
	}
	return sqlRead
}

// passed remembers a token. The target of INSERT INTO ends where its name ends.
func (r *sqlReader) passed(tok sqlToken) {
	named := r.last.kind == sqlWord || r.last.kind == sqlQuoted
	switch {
	case tok.word == "into":
	case r.last.word == "into", tok.char == '.', r.last.char == '.' && !named:
	default:
		r.target = false
	}
	r.before, r.last = r.last, tok
	r.count++
}

// word judges a word that is not quoted, wherever it stands.
func (r *sqlReader) word(w string) sqlClass {
	switch {
	case w == "into":
		// INSERT INTO names the target; SELECT … INTO makes a table or a file.
		r.target = slices.Contains([]string{"insert", "replace", "merge", "ignore"}, r.last.word)
		if r.target {
			return sqlDML
		}
		return sqlDDL
	case w == "set":
		// UPDATE … SET, once; any other SET changes the session.
		if r.update {
			r.update = false
			return sqlDML
		}
		return sqlDDL
	case w == "do":
		if r.conflict {
			return sqlDML
		}
		return sqlDDL
	case slices.Contains(sqlDMLWords, w):
		r.update = r.update || w == "update"
		r.conflict = r.conflict || w == "conflict"
		return sqlDML
	case slices.Contains(sqlDDLWords, w):
		return sqlDDL
	}
	return sqlRead
}

// call judges an opening parenthesis by what stands before it: what is not a
// keyword or a harmless function may do anything.
func (r *sqlReader) call() sqlClass {
	switch name := r.last; {
	case r.target: // INSERT INTO t (a, b)
		return sqlRead
	case name.kind == sqlQuoted, name.kind == sqlWord && r.before.char == '.':
		return sqlDDL
	case name.kind != sqlWord, slices.Contains(sqlKeywords, name.word), slices.Contains(sqlDMLWords, name.word),
		slices.Contains(sqlFunctions, name.word):
		return sqlRead
	}
	return sqlDDL
}

// The words are in lower case. sqlFirst may begin a statement; EXPLAIN, SHOW and
// PRAGMA may not, because some forms of them act.
var sqlFirst = []string{"select", "with", "values", "insert", "update", "delete", "merge", "replace"}

// sqlDMLWords change or lock rows, or belong to what does.
var sqlDMLWords = []string{"insert", "update", "delete", "merge", "replace", "upsert", "conflict", "for", "lock", "share",
	"nowait", "updlock", "xlock", "tablock", "tablockx", "paglock", "rowlock", "holdlock", "serializable", "nextval", "prevval",
	"returning", "output", "ignore", "low_priority", "high_priority", "delayed"}

// sqlDDLWords begin other statements or reach outside of the database. Some
// dialects need no semicolon between statements, so they count anywhere.
var sqlDDLWords = []string{"create", "alter", "drop", "truncate", "grant", "revoke", "deny", "rename", "exec",
	"execute", "call", "copy", "load", "unload", "attach", "detach", "vacuum", "reindex", "analyze", "analyse", "optimize",
	"repair", "flush", "pragma", "reset", "begin", "commit", "rollback", "abort", "savepoint", "release",
	"transaction", "prepare", "deallocate", "declare", "fetch", "open", "close", "move", "cursor", "listen", "notify",
	"unlisten", "handler", "install", "uninstall", "plugin", "kill", "shutdown", "use", "backup", "restore", "dump", "dbcc",
	"waitfor", "reconfigure", "checkpoint", "openrowset", "openquery", "opendatasource", "openxml", "bulk", "import",
	"export", "outfile", "dumpfile", "infile", "procedure", "function", "delimiter", "raiserror", "throw", "print", "if",
	"while", "loop", "goto", "go", "return", "revert", "enable", "disable", "receive", "send", "writetext", "updatetext",
	"readtext", "setuser", "discard", "refresh", "reassign", "purge", "binlog",
	"leave", "iterate", "break", "continue", "try", "catch", "trigger", "database", "schema",
	"explain", "describe", "show", "sequence", "undrop", "clone"}

// sqlKeywords may stand before a parenthesis and are no functions.
var sqlKeywords = []string{"select", "from", "where", "and", "or", "not", "in", "exists", "any", "all", "some", "as", "on",
	"using", "join", "inner", "left", "right", "full", "cross", "outer", "lateral", "having", "by", "when", "then", "else",
	"case", "union", "intersect", "except", "distinct", "filter", "over", "within", "limit", "offset", "between", "like",
	"ilike", "is", "values", "with", "materialized", "partition", "order", "group", "top", "rows", "range", "grouping", "sets",
	"varchar", "char", "numeric", "decimal"}

// sqlFunctions have no effect in any of the common dialects.
var sqlFunctions = []string{"count", "sum", "avg", "min", "max", "coalesce", "nullif", "ifnull", "isnull", "lower", "upper",
	"length", "len", "char_length", "octet_length", "substr", "substring", "trim", "ltrim", "rtrim", "position", "strpos",
	"instr", "concat", "concat_ws", "round", "floor", "ceil", "ceiling", "abs", "mod", "sign", "power", "sqrt", "greatest",
	"least", "cast", "extract", "date", "datetime", "time", "strftime", "date_trunc", "date_part", "datediff", "dateadd",
	"year", "month", "day", "now", "current_date", "current_time", "current_timestamp", "row_number", "rank", "dense_rank",
	"percent_rank", "ntile", "lag", "lead", "first_value", "last_value", "string_agg", "group_concat", "array_agg",
	"json_extract", "json_value", "stddev", "variance", "bool_and", "bool_or", "rollup", "cube"}
