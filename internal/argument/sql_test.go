package argument_test

import (
	"strings"
	"testing"

	"rutile/internal/argument"
)

func TestOnlyCertainReadsAreReads(t *testing.T) {
	const read, dml, ddl = argument.SQLRead, argument.SQLDML, argument.SQLDDL
	for _, tt := range []struct {
		sql  string
		want argument.SQLClass
	}{
		// Certainly one statement that reads.
		{`SELECT 1`, read}, {`select 1;`, read}, {" \n select a, b from t where a = 'x' ; -- done", read}, {`((SELECT 1))`, read},
		{`SELECT count(*), max(a) FROM t GROUP BY a HAVING sum(b) > 1 ORDER BY a LIMIT 5`, read},
		{`SELECT * FROM a JOIN b USING (id) WHERE a.x IN (1, 2) AND EXISTS (SELECT 1 FROM c)`, read},
		{`WITH x AS (SELECT 1) SELECT * FROM x`, read}, {`WITH RECURSIVE t(n, m) AS (SELECT 1, 2 UNION ALL SELECT n + 1, m FROM t) SELECT * FROM t`, read},
		{`WITH x AS MATERIALIZED (SELECT 1) SELECT * FROM x`, read}, {`SELECT * FROM (VALUES (1, 2)) AS v(a, b)`, read}, {`VALUES (1)`, read},
		{`SELECT a, row_number() OVER (PARTITION BY b ORDER BY c) FROM t`, read}, {`SELECT CAST(a AS decimal(10,2)), b::numeric(4,1) FROM t`, read},
		{`SELECT replace(a, 'x', 'y') FROM t`, read}, {`EXPLAIN SELECT 1`, read}, {`EXPLAIN (ANALYZE) SELECT 1`, read}, {`SHOW TABLES`, read}, {`DESCRIBE t`, read},
		{`SELECT a AS created, updated_at, inserted FROM updates`, read}, {`SELECT * FROM t WHERE a = $1 AND b = ? AND c = :d AND e = @f`, read},
		{"SELECT `a b`, \"update\", [delete] FROM t", read}, {"SELECT * FROM `project-1.set.t`", read}, {"SELECT `a--b`\n", ddl}, {`SELECT 이름 FROM 사람 WHERE 도시 = '서울'`, read},
		{`SELECT comment, open, close, start FROM t`, read}, {`SELECT CASE WHEN a THEN 1 ELSE 2 END FROM t`, read}, {`SELECT a /* b */ FROM t`, read},
		// What stands in strings, quoted names and comments is no word.
		{`SELECT 'a; DROP TABLE t; --'`, read}, {`SELECT 'it''s; delete'`, read}, {`SELECT "drop table t;" FROM t`, read}, {"SELECT 1 -- ; DROP TABLE t\n", read},
		{`SELECT 1 /* ; DELETE FROM t */`, read}, {`SELECT 'C:\dir' FROM t`, read}, {`SELECT '/*', '*/', '--'`, read},
		// Changes of rows, and locks.
		{`INSERT INTO t (a, b) VALUES (1, 'x')`, dml}, {`INSERT INTO s.t (a) SELECT a FROM u`, dml}, {`insert ignore into t values (1)`, dml}, {`REPLACE INTO t VALUES (1)`, dml},
		{`UPDATE t SET a = 1 WHERE b = 2`, dml}, {`DELETE FROM t`, dml}, {`MERGE INTO t USING u ON (t.a = u.a) WHEN MATCHED THEN UPDATE SET b = 1 WHEN NOT MATCHED THEN INSERT (a) VALUES (1)`, dml},
		{`INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING`, dml}, {`INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2`, dml}, {`INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 1`, dml},
		{`SELECT * FROM t FOR UPDATE`, dml}, {`SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED`, dml}, {`SELECT * FROM t FOR SHARE`, dml}, {`SELECT * FROM t FOR KEY SHARE`, dml},
		{`WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x`, dml}, {`WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x`, dml}, {`WITH x AS (UPDATE t SET a = 1 RETURNING a) SELECT * FROM x`, dml},
		{`EXPLAIN ANALYZE DELETE FROM t`, dml}, {`EXPLAIN (ANALYZE) UPDATE t SET a = 1`, dml}, {`SELECT seq.NEXTVAL FROM dual`, dml}, {`SELECT NEXT VALUE FOR seq`, dml}, {`SELECT @a := 1`, dml},
		{`SELECT 1; SELECT 2`, dml}, {`;;SELECT 1;;`, read}, {`SELECT 1; INSERT INTO t VALUES (1)`, dml}, {"SELECT 1\nDELETE FROM t", dml}, {`SELECT 1 UNION DELETE FROM t`, dml},
		// Anything else.
		{`SELECT 1; DROP TABLE t`, ddl}, {`SELECT 1 DROP TABLE t`, ddl}, {"SELECT 1\nEXEC xp_cmdshell 'dir'", ddl}, {"SELECT 1\nGO\nTRUNCATE TABLE t", ddl}, {`SELECT 1 SHUTDOWN`, ddl},
		{`SELECT * INTO u FROM t`, ddl}, {`SELECT a FROM t INTO OUTFILE '/tmp/x'`, ddl}, {`WITH x AS (SELECT 1) SELECT * INTO u FROM x`, ddl}, {`INSERT INTO t SELECT * INTO u FROM v`, ddl},
		{`SELECT evil()`, ddl}, {`SELECT pg_read_file('/etc/passwd')`, ddl}, {`SELECT nextval('s')`, dml}, {`SELECT evil.nextval(1)`, ddl}, {`SELECT evil.update(1)`, ddl}, {`SELECT evil . f (1)`, ddl}, {`SELECT public.count(1)`, ddl}, {`SELECT "count"(1)`, ddl}, {"SELECT `f`(1)", ddl},
		{`SELECT * FROM evil(a) AS (x int)`, ddl}, {`SELECT * FROM b, evil(a) AS (x int)`, ddl}, {`SELECT * FROM dblink_exec('x')`, ddl}, {`SELECT load_extension('x')`, ddl}, {`SELECT sleep/**/(5)`, ddl},
		{`SELECT TRANSFORM (a) USING 'sh' FROM t`, ddl}, {`SELECT * FROM OPENROWSET('x')`, ddl}, {`SELECT * FROM [DROP TABLE t]`, ddl}, {`SELECT * FROM [SHOW JOBS]`, ddl},
		{`CALL p()`, ddl}, {`EXEC p`, ddl}, {`{call p()}`, ddl}, {`DO $$ BEGIN END $$`, ddl}, {`BEGIN; SELECT 1; COMMIT`, ddl}, {`SET x = 1`, ddl}, {`UPDATE t SET a = 1 SET ROWCOUNT 1`, ddl}, {`UPDATE STATISTICS t`, ddl},
		{`CREATE TABLE t (a int)`, ddl}, {`EXPLAIN CREATE TABLE t AS SELECT 1`, ddl}, {`EXPLAIN EXECUTE p`, ddl}, {`EXPLAIN PLAN FOR SELECT 1`, ddl}, {`GRANT ALL ON t TO u`, ddl}, {`COPY t TO PROGRAM 'sh'`, ddl}, {`PRAGMA x = 1`, ddl},
		{`ATTACH 'x' AS y`, ddl}, {`VACUUM`, ddl}, {`LOCK TABLE t`, ddl}, {`TABLE t`, ddl}, {`FROM t SELECT *`, ddl}, {`frobnicate`, ddl}, {`'x'`, ddl}, {`(`, ddl}, {`1`, ddl},
		// What databases cut differently.
		{`SELECT 'a\' ; DROP TABLE t; --'`, ddl}, {`SELECT 'a\\' FROM t`, ddl}, {`SELECT "a\"; DELETE FROM t; --"`, ddl}, {`SELECT E'\'' FROM t`, ddl}, {`SELECT 'a`, ddl}, {`SELECT "a`, ddl}, {"SELECT `a", ddl}, {`SELECT [a`, ddl},
		{`SELECT ''' ' ''' ; DROP TABLE x --'`, ddl}, {`SELECT 1 --x`, ddl}, {"SELECT 1 -- a\rDROP TABLE t", ddl}, {`SELECT 1 # x`, ddl}, {`SELECT 1 /* /* */ */`, ddl}, {`SELECT 1 /*! ; DROP TABLE t */`, ddl}, {`SELECT 1 /*!50000 x */`, ddl},
		{`SELECT /*+ SET_VAR(a=1) */ 1`, ddl}, {`SELECT 1 /*M! x */`, ddl}, {`SELECT 1 /* x`, ddl}, {`SELECT 1 /*/ x */`, read}, {`SELECT $$; DROP TABLE t$$`, ddl}, {`SELECT $a$ x $a$`, ddl}, {`SELECT a$b$ FROM t`, ddl}, {`SELECT $1$2$`, ddl},
		{`SELECT q'[it's; DROP TABLE t]'`, ddl}, {"SELECT `a'b` FROM t", ddl}, {"SELECT `;drop table t`", ddl}, {`SELECT [a]]; drop]`, ddl}, {`SELECT [a'b]`, ddl}, {"SELECT\u00a01", ddl}, {"SELECT 1\u037e SELECT 2", ddl},
		{"SELECT 1\x00; DROP TABLE t", ddl}, {"SELECT '\x00'", ddl}, {`SELECT 1 \g`, ddl}, {"SELECT 1\x0bFROM t", ddl}, {"SELECT a\u200b FROM t", ddl},
	} {
		got, err := argument.ClassifySQL(tt.sql)
		if got != tt.want || err != nil {
			t.Errorf("%s: %v, %v; want %v", tt.sql, got, err, tt.want)
		}
	}
	for _, none := range []string{"", " ", ";", "-- x", "/* x */;"} {
		if got, err := argument.ClassifySQL(none); err == nil {
			t.Errorf("%q: %v", none, got)
		}
	}
	if argument.SQLClass(0).String() != "ddl" {
		t.Error("no class is a low class")
	}
}

// The words that raise the class do so wherever they stand.
func TestNoStatementHidesBehindARead(t *testing.T) {
	for _, word := range strings.Fields(`ALTER BACKUP BEGIN BULK CALL CHECKPOINT COMMIT CREATE DBCC DENY DROP EXEC EXECUTE GRANT INTO KILL LOAD LOCK OPENQUERY OUTFILE
		PRAGMA PRINT PROCEDURE RESTORE REVERT REVOKE ROLLBACK SET SHUTDOWN TRUNCATE USE WAITFOR WRITETEXT DO DELETE INSERT UPDATE MERGE REPLACE`) {
		for _, form := range []string{"SELECT 1 %", "SELECT 1\n%\n", "SELECT 1;% x", "WITH x AS (% t) SELECT 1", "SELECT 1/**/%/**/x", "EXPLAIN %"} {
			if got, err := argument.ClassifySQL(strings.ReplaceAll(form, "%", strings.ToLower(word))); err != nil || got == argument.SQLRead {
				t.Errorf("%s with %s: %v, %v", form, word, got, err)
			}
		}
	}
}

func FuzzClassifySQL(f *testing.F) {
	f.Add("SELECT 1")
	f.Add("SELECT 'a' /* b */ -- c\nFROM \"d\" WHERE `e` = [f] AND g = $1")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := argument.ClassifySQL(s)
		if err != nil {
			return
		}
		// A class is never lowered by what follows.
		for _, more := range []string{";DROP TABLE t", "\n;DELETE FROM t"} {
			if after, err := argument.ClassifySQL(s + more); err == nil && after < got {
				t.Errorf("%q is %v, and with %q %v", s, got, more, after)
			}
		}
	})
}
