package grant_test

import (
	"encoding/json"
	"strings"
	"testing"

	"rutile/internal/grant"
)

func quoteAll(values ...string) []string {
	for i, v := range values {
		q, _ := json.Marshal(v)
		values[i] = string(q)
	}
	return under(values...)
}

func TestHostsAreReadStrictly(t *testing.T) {
	check(t, []hit{{`{"at":"/a","hostIn":["example.com","*.example.com","xn--mnchen-3ya.example"]}`,
		quoteAll("example.com", "EXAMPLE.com", "a.example.com", "a.b.example.com:8080", "https://example.com", "https://a.example.com:443/x?y=@evil.net#z",
			"wss://example.com/", "http://example.com/@evil.net", "xn--mnchen-3ya.example", "https://example.com//evil.net"),
		append(under(`["example.com"]`, `null`, `1`), quoteAll("", "evil.net", "notexample.com", "example.com.evil.net", "example.com.", "a.example.com.", ".example.com",
			"a..example.com", "example.com@evil.net", "https://example.com@evil.net", "https://example.com:x@evil.net/", "https://user@example.com/",
			`https://evil.net\.example.com`, `https://evil.net\@example.com`, `https:\\example.com`, `https://example.com/\@evil.net`, "https://evil.net?.example.com", "https://evil.net#.example.com",
			"https://example.com?@evil.net", "https://example.com#@evil.net", "https://evil.net%2f.example.com", "https://evil.net%00.example.com/",
			"https:///example.com", "https:/example.com", "https:example.com", "//example.com", "/example.com", "javascript://example.com/%0aalert(1)",
			"file://example.com/etc/passwd", "HTTPS://example.com", "data:text/html,x", "ftp://example.com", "https://example.com:", "https://example.com:0",
			"https://example.com:99999", "https://example.com:080", "https://example.com:443:80/", "example.com:", "https://[::1]", "https://[::1].example.com", "127.0.0.1",
			"https://2130706433", "https://0x7f.1", "a.example.com.0x1", "http://evil.net:80#.example.com", " example.com", "example.com ", "exa\tmple.com", "example.com\n",
			"https://exa\nmple.com", "a\x00.example.com", "münchen.example", "ｅxample.com", "example。com", "\u212aexample.com", "-a.example.com", "a-.example.com",
			"_x.example.com", "*.example.com", "a b.example.com", "https://example.com,evil.net/", "https://evil.net;.example.com/", "mailto:a@example.com",
			strings.Repeat("a", 64)+".example.com", strings.Repeat("a.", 130)+"example.com")...)},
		{`{"at":"/a","hostIn":["*.example.com"]}`, quoteAll("a.example.com"), quoteAll("example.com", "https://example.com/")},
	})
}

func TestPathsAreReadStrictly(t *testing.T) {
	check(t, []hit{
		{`{"at":"/a","pathUnder":"/srv/docs"}`, quoteAll("/srv/docs", "/srv/docs/a", "/srv/docs/a/b.txt", "/srv/docs/..a", "/srv/docs/a..", "/srv/docs/.git", "/srv/docs/日本", "/srv/docs/e\u0301"),
			append(under(`["/srv/docs"]`, `1`, `null`), quoteAll("", "/", "/srv", "/srv/docsx", "/srv/docs-old/a", "/Srv/docs/a", "srv/docs/a", "/srv/docs/", "/srv/docs/../etc", "/srv/docs/a/..",
				"/srv/docs/./a", "/srv/docs//a", "//srv/docs/a", "/srv//docs/a", "/srv/docs/%2e%2e/etc", "/srv/docs/%2E%2E%2Fetc", "/srv/docs/..%2fetc", "/srv/docs/%252e", `/srv/docs\..\etc`,
				`\srv\docs`, "/srv/docs/a\x00", "/srv/docs/a\n", "/srv/docs/.. /etc", "/srv/docs/.../etc", "/srv/docs/ /etc", "/srv/docs/．．/etc", "/srv/docs/a／..／b", "/srv/docs/‥/etc", "/srv/docs/a＼b",
				"/srv/docs/％2e", "file:///srv/docs/a", "/srv/docs/a/../../docs/a", "/srv/docs/..", "/etc/passwd", "~/srv/docs")...)},
		{`{"at":"/a","pathUnder":"/"}`, quoteAll("/", "/a", "/a/b"), quoteAll("", "a", "//", "/..", "/a/")},
		{`{"at":"/a","pathUnder":"docs"}`, quoteAll("docs", "docs/a"), quoteAll("/docs/a", "./docs/a", "docsa", "../docs", "docs/..")},
	})
}

// Each statement is of its class, and refused by each lower one.
func TestSQLClasses(t *testing.T) {
	for class, statements := range map[string][]string{
		"read": {
			"SELECT 1", "select * from t where a = 'it''s; drop table x -- '", "SELECT a.b, count(*) FROM a JOIN b ON (a.x = b.y) GROUP BY a.b HAVING sum(c) > 1.5e3;",
			"WITH x AS (SELECT 1) SELECT * FROM x", "VALUES (1, 2)", `SELECT "Update" FROM "t" WHERE x IN (1, 2) AND y = $1 AND z = :name AND w = ?`, "SELECT `a` FROM `t` LIMIT 5",
			"SELECT a->>'k', b::text FROM t WHERE EXISTS (SELECT 1)", "SELECT lower(a) FROM t ORDER BY 1 \n;\n", "SELECT 'ü' UNION ALL SELECT (1 - 2)", "SELECT ''",
		},
		"dml": {
			"INSERT INTO t (a, b) VALUES (1, 2)", "insert into s.t (a) select b from u", "UPDATE t SET a = 1 WHERE b = 2", "DELETE FROM t", "REPLACE INTO t VALUES (1)",
			"INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1 RETURNING a", "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
			"MERGE INTO t USING s ON (t.a = s.a) WHEN MATCHED THEN UPDATE SET b = 1 WHEN NOT MATCHED THEN INSERT (a) VALUES (1)",
			"WITH x AS (DELETE FROM t RETURNING a) SELECT * FROM x", "SELECT * FROM t FOR UPDATE", "SELECT * FROM t FOR SHARE", "SELECT * FROM t LOCK IN SHARE MODE",
			"SELECT * FROM t WITH (UPDLOCK)", "SELECT update FROM t", "SELECT 1 DELETE FROM t", "SELECT replace(a, 'x', 'y') FROM t", "SELECT NEXT VALUE FOR s",
		},
		"ddl": {
			"", " ", ";", "DROP TABLE t", "CREATE TABLE t (a int)", "SELECT 1; DROP TABLE t", "SELECT 1; SELECT 2", "SELECT 1;;", "SELECT * INTO u FROM t", "SELECT 1 INTO OUTFILE '/tmp/x'",
			"INSERT INTO t SELECT * INTO u FROM v", "UPDATE t SET a = 1 SET NOCOUNT ON", "SELECT 1 -- x", "SELECT 1 /* x */", "SELECT 1 /*! DROP TABLE t */", "SELECT /*/**/ 1", "SELECT 1 # x", "SEL/**/ECT 1",
			`SELECT 'a\'; DROP TABLE t; --'`, "SELECT $$a$$", "SELECT $a$ ' $a$; DROP TABLE t; --'", "SELECT E'a'", "SELECT q'[it's]'", "SELECT [it's] ; DROP TABLE t --'", "SELECT pg_sleep(10)",
			"SELECT lo_export(1, 'x')", "SELECT setval('s', 1)", "SELECT evil.count(1)", "SELECT s.any (1)", `SELECT "pg_sleep" (1)`, "SELECT `sleep`(1)", "INSERT INTO t SELECT evil(1)", "INSERT INTO t VALUES (evil(1))",
			"INSERT INTO t (a) VALUES (1), (evil (2))", "EXPLAIN ANALYZE DELETE FROM t", "PRAGMA writable_schema = 1", "EXEC sp_x", "SELECT 1 EXEC sp_x", "SELECT 1 DROP TABLE t", "SELECT 1DROP TABLE t", "DO 'x'", "SELECT 1 DO NOTHING",
			"INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING DO 'x'", "CALL p()", "COPY t TO PROGRAM 'x'", "WITH x AS (SELECT 1) DROP TABLE t", "SELECT @a := 1", "SELECT 'a", `SELECT "a`, "SELECT 1\x00", "SELECT\u00a01",
			"ＳＥＬＥＣＴ 1", "(SELECT 1)", "SELECT 1 `; DROP TABLE t; `", "SELECT `it's` ; DROP TABLE t; '`", "SELECT 'a'b", "SELECT '''a' ''' ; DROP TABLE x; SELECT '''", "SELECT load_extension('x')", "ATTACH 'x' AS y", "SELECT * FROM dblink('x', 'y')",
			"SELECT * FROM openrowset('x')", "BEGIN", "GRANT ALL ON t TO u", "TRUNCATE t", `SELECT U&"d\0061t"`, "select 1 \\; drop table t", "SELECT _utf8'a'", "SELECT 1\nGO\nsp_x",
			"SELECT a " + strings.Repeat(", a", 64<<10),
		},
	} {
		order := []string{"read", "dml", "ddl"}
		for _, s := range statements {
			if got := grant.ClassifySQL(s); got != class {
				t.Errorf("%.60q is %s, want %s", s, got, class)
			}
			q, _ := json.Marshal(s)
			args, reached := value(t, `{"q":`+string(q)+`}`), false
			for _, limit := range order {
				reached = reached || limit == class
				if got := parse(t, `[{"at":"/q","sqlClass":"`+limit+`"}]`).Match(args) == nil; got != reached {
					t.Errorf("sqlClass %s on %.60q: %v", limit, s, got)
				}
			}
		}
	}
	check(t, []hit{{`{"at":"/a","sqlClass":"ddl"}`, under(`"DROP TABLE t"`), under(`1`, `["SELECT 1"]`, `null`)}})
}
