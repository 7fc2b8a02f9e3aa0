package argument

import "slices"

// The lists are sorted: see has.

// sqlReads are the words a reading statement begins with.
var sqlReads = []string{
	"DESC", "DESCRIBE", "EXPLAIN", "SELECT", "SHOW", "VALUES", "WITH",
}

// sqlWrites are the words of statements that change rows.
var sqlWrites = []string{
	"DELETE", "INSERT", "MERGE", "REPLACE", "UPDATE", "UPSERT",
}

// sqlLocks are words that lock rows or move a sequence in a reading statement.
var sqlLocks = []string{
	"NEXTVAL", "SHARE",
}

// sqlChanges are the words that make a statement neither wherever they
// stand: T-SQL has statements that nothing separates, and Hive runs programs.
var sqlChanges = []string{
	"ALTER", "ATTACH", "BACKUP", "BEGIN", "BULK", "CALL", "CHECKPOINT", "COMMIT", "CONVERSATION", "COPY", "CREATE",
	"DBCC", "DEALLOCATE", "DECLARE", "DENY", "DISABLE", "DROP", "DUMP", "DUMPFILE", "ENABLE", "EXEC", "EXECUTE",
	"GO", "GOTO", "GRANT", "HANDLER", "KILL", "LOAD", "LOCK", "MAP", "OPENDATASOURCE", "OPENQUERY", "OPENROWSET",
	"OPENXML", "OUTFILE", "PRAGMA", "PREPARE", "PRINT", "PROCEDURE", "RAISERROR", "READTEXT", "RECEIVE",
	"RECONFIGURE", "REDUCE", "RESTORE", "REVERT", "REVOKE", "ROLLBACK", "SAVE", "SEND", "SETUSER", "SHUTDOWN",
	"STATISTICS", "THROW", "TRANSFORM", "TRUNCATE", "UPDATETEXT", "USE", "VACUUM", "WAITFOR", "WHILE", "WRITETEXT",
}

// sqlBrackets are the words a bracket follows that is no call.
var sqlBrackets = []string{
	"ALL", "AND", "ANY", "AS", "BETWEEN", "BIT", "BY", "CASE", "CHAR", "CHARACTER", "CONFLICT", "CUBE", "DATETIME2", "DEC",
	"DECIMAL", "DISTINCT", "ELSE", "END", "EXCEPT", "EXISTS", "EXPLAIN", "FILTER", "FLOAT", "FROM", "GROUP",
	"HAVING", "ILIKE", "IN", "INTERSECT", "IS", "JOIN", "LATERAL", "LIKE", "LIMIT", "MATERIALIZED", "MINUS",
	"NCHAR", "NOT", "NUMBER", "NUMERIC", "NVARCHAR", "OFFSET", "ON", "OR", "OVER", "PARTITION", "RETURNING",
	"ROLLUP", "SELECT", "SETS", "SOME", "THEN", "TIME", "TIMESTAMP", "UNION", "USING", "VALUES", "VARBINARY",
	"VARCHAR", "VARCHAR2", "VARYING", "WHEN", "WHERE", "WITHIN",
}

// sqlFunctions are functions that every database that has them computes from
// their arguments, the clock and nothing else.
var sqlFunctions = []string{
	"ABS", "AVG", "CAST", "CEIL", "CEILING", "CHARACTER_LENGTH", "CHAR_LENGTH", "COALESCE", "CONCAT", "CONCAT_WS",
	"CONVERT", "COUNT", "CUME_DIST", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "DATE", "DATEADD",
	"DATEDIFF", "DATEPART", "DATE_ADD", "DATE_FORMAT", "DATE_PART", "DATE_SUB", "DATE_TRUNC", "DAY", "DENSE_RANK",
	"EXP", "EXTRACT", "FIRST_VALUE", "FLOOR", "GREATEST", "GROUP_CONCAT", "HOUR", "IFNULL", "IIF", "ISNULL",
	"JSON_EXTRACT", "JSON_VALUE", "LAG", "LAST_VALUE", "LEAD", "LEAST", "LEFT", "LEN", "LENGTH", "LN", "LOG",
	"LOWER", "LPAD", "LTRIM", "MAX", "MEDIAN", "MIN", "MINUTE", "MOD", "MONTH", "NOW", "NTH_VALUE", "NTILE",
	"NULLIF", "NVL", "OCTET_LENGTH", "PERCENTILE_CONT", "PERCENTILE_DISC", "PERCENT_RANK", "POSITION", "POWER",
	"RANK", "REGEXP_REPLACE", "REPEAT", "REVERSE", "RIGHT", "ROUND", "ROW_NUMBER", "RPAD", "RTRIM", "SECOND",
	"SIGN", "SPLIT_PART", "SQRT", "STDDEV", "STDDEV_POP", "STDDEV_SAMP", "STRFTIME", "STRING_AGG", "STRPOS",
	"SUBSTR", "SUBSTRING", "SUM", "TOTAL", "TO_CHAR", "TO_DATE", "TO_NUMBER", "TO_TIMESTAMP", "TRIM", "TRUNC",
	"UPPER", "VARIANCE", "VAR_POP", "VAR_SAMP", "WEEK", "YEAR",
}

// sqlWord reports whether w, outside of quotes, would raise the class.
func sqlWord(w string) bool {
	return has(sqlWrites, w) || has(sqlLocks, w) || has(sqlChanges, w) || w == "INTO" || w == "SET" || w == "DO"
}

func has(sorted []string, w string) bool {
	_, ok := slices.BinarySearch(sorted, w)
	return ok
}
