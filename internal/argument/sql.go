package argument

import "errors"

// SQLClass is what a text of SQL may do. A higher class may do all a lower may.
type SQLClass uint8

// The classes.
const (
	SQLRead SQLClass = iota + 1 // certainly one statement that only reads
	SQLDML                      // certainly no more than changing rows
	SQLDDL                      // anything else
)

// String returns "read", "dml" or "ddl".
func (c SQLClass) String() string {
	switch c {
	case SQLRead:
		return "read"
	case SQLDML:
		return "dml"
	default:
		return "ddl"
	}
}

// ClassifySQL returns the class of a text of SQL. It errs to the higher class:
// what databases tokenise differently (a backslash before a quote, nested and
// executable comments, dollar quotes, "#", "--" without a space), what starts with
// a word it does not know, and calls of functions that are not known to be pure
// are SQLDDL; several statements are never SQLRead. It knows words and not the
// database: what a view, an operator or a column does when it is read is out of
// its reach. A text without a statement is an error.
func ClassifySQL(s string) (SQLClass, error) {
	if len(s) > MaxText {
		return 0, errLong
	}
	tokens, ok := tokenise(s)
	if !ok {
		return SQLDDL, nil
	}
	class, statements := SQLClass(0), 0
	for len(tokens) > 0 {
		end := 0
		for end < len(tokens) && tokens[end].text != ";" {
			end++
		}
		if end > 0 {
			statements++
			class = max(class, classOf(tokens[:end]))
		}
		tokens = tokens[min(end+1, len(tokens)):]
	}
	switch {
	case statements == 0:
		return 0, errors.New("it holds no statement of SQL")
	case statements > 1:
		class = max(class, SQLDML)
	}
	return class, nil
}

// classOf returns the class of one statement. T-SQL needs nothing between two
// statements, so a word counts wherever it stands.
func classOf(t []token) SQLClass {
	class, sets, updates := SQLRead, 0, 0
	switch first := opening(t); {
	case has(sqlReads, first):
	case has(sqlWrites, first):
		class = SQLDML
	default:
		return SQLDDL
	}
	for i, x := range t {
		switch {
		case x.text == ":=":
			class = max(class, SQLDML) // MySQL assigns a variable
		case x.kind == tokenOther || x.kind == tokenString:
		case x.kind == tokenQuoted:
			if at(t, i+1).text == "(" && !names(t, i) {
				return SQLDDL // a call
			}
		case has(sqlChanges, x.text):
			return SQLDDL
		case x.text == "REPLACE" && at(t, i+1).text == "(": // the function
		case x.text == "SET":
			sets++
		case x.text == "DO":
			if next := at(t, i+1).text; next != "NOTHING" && next != "UPDATE" {
				return SQLDDL
			}
		case x.text == "INTO":
			if before := at(t, i-1).text; !has(sqlWrites, before) && before != "IGNORE" {
				return SQLDDL // SELECT … INTO makes a table or a file
			}
		case x.text == "FOR" && at(t, i-1).text == "VALUE":
			class = max(class, SQLDML) // NEXT VALUE FOR
		case has(sqlWrites, x.text) || has(sqlLocks, x.text):
			if at(t, i-1).text == "." && at(t, i+1).text == "(" {
				return SQLDDL // anybody's function of that name
			}
			class = max(class, SQLDML)
			if x.text == "UPDATE" {
				updates++
			}
		case at(t, i+1).text == "(" && !pure(t, i):
			return SQLDDL
		}
	}
	if sets > updates {
		return SQLDDL // SET that is no part of UPDATE changes the session
	}
	return class
}

// opening returns the word a statement begins with, behind brackets.
func opening(t []token) string {
	i := 0
	for at(t, i).text == "(" {
		i++
	}
	if w := at(t, i); w.kind == tokenWord && !(w.text == "EXPLAIN" && at(t, i+1).text == "PLAN") {
		return w.text
	}
	return ""
}

// pure reports whether the bracket after the word t[i] is no call, or the call of
// a function that only computes.
func pure(t []token, i int) bool {
	if at(t, i-1).text == "." {
		return names(t, i) // "x.count" is anybody's function
	}
	return has(sqlBrackets, t[i].text) || has(sqlFunctions, t[i].text) || names(t, i)
}

// names reports whether t[i] names a table or its columns follow: INSERT INTO
// t (a), … AS t (a), WITH t (a) AS (….
func names(t []token, i int) bool {
	j := i - 1
	for at(t, j).text == "." && j > 0 {
		j -= 2
	}
	switch at(t, j).text {
	case "INTO":
		return true
	case "AS":
		return j == i-1
	case "WITH", "RECURSIVE":
		if j != i-1 || j > 1 { // the first words of the statement only
			return false
		}
		k := i + 2
		for ; at(t, k).kind == tokenWord || at(t, k).kind == tokenQuoted || at(t, k).text == ","; k++ {
		}
		return at(t, k).text == ")" && at(t, k+1).text == "AS" && at(t, k+2).text == "("
	}
	return false
}

// at returns t[i], or nothing where there is none.
func at(t []token, i int) token {
	if i < 0 || i >= len(t) {
		return token{}
	}
	return t[i]
}

// token is one token of SQL: a word in upper case, a quoted name, a string, or
// one character of anything else.
type token struct {
	kind tokenKind
	text string
}

type tokenKind uint8

const (
	tokenOther tokenKind = iota
	tokenWord
	tokenQuoted
	tokenString
)
