package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"rutile/internal/admin"
)

// maxRules bounds what one stored version may unfold to.
const maxRules = 256 << 20

// versionRows are the rows of new versions.
func versionRows(versions []admin.Version) (change, error) {
	c := change{put: `INSERT INTO policy_versions (n, head, rules) VALUES ($1, $2, $3)`}
	for _, v := range versions {
		what := fmt.Sprintf("generation %d of the policies", v.N)
		if v.N == 0 || v.N > math.MaxInt64 || v.Rules == nil {
			return change{}, fmt.Errorf("committing a change: %s holds nothing", what)
		}
		rules, err := encode(what, v.Rules)
		if err != nil {
			return change{}, err
		}
		packed, err := pack(rules)
		if err != nil {
			return change{}, fmt.Errorf("packing %s: %w", what, err)
		}
		v.Rules, v.At = nil, exact(v.At)
		head, err := encode(what, v)
		if err != nil {
			return change{}, err
		}
		c.puts = append(c.puts, []any{int64(v.N), head, packed})
	}
	return c, nil
}

func pack(doc string) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, doc)
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpack(packed []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	doc, err := io.ReadAll(io.LimitReader(z, maxRules+1))
	if err == nil && len(doc) > maxRules {
		err = fmt.Errorf("it unfolds to more than %d bytes", maxRules)
	}
	return doc, err
}

func versionHead(n int64, head string) (v admin.Version, err error) {
	err = decode("policy_versions", strconv.FormatInt(n, 10), head, &v)
	v.N, v.At = uint64(n), exact(v.At)
	return v, err
}

// Versions returns the versions below before (0: all), newest first and without
// what they hold.
func (s *Store) Versions(ctx context.Context, before uint64, limit int) ([]admin.Version, error) {
	if before == 0 || before > math.MaxInt64 {
		before = math.MaxInt64
	}
	if limit <= 0 {
		limit = defaultLimit
	}
	var out []admin.Version
	err := s.read(ctx, "listing the generations of the policies", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var n int64
			var head string
			if err := r.Scan(&n, &head); err != nil {
				return err
			}
			v, err := versionHead(n, head)
			out = append(out, v)
			return err
		}, `SELECT n, head FROM policy_versions WHERE n < $1 ORDER BY n DESC LIMIT $2`, int64(before), int64(min(limit, maxLimit)))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Version returns one version with what it holds.
func (s *Store) Version(ctx context.Context, n uint64) (v admin.Version, ok bool, err error) {
	if n > math.MaxInt64 {
		return v, false, nil
	}
	var head string
	var packed []byte
	const doing = "reading a generation of the policies"
	ok, err = s.one(ctx, doing, `SELECT head, rules FROM policy_versions WHERE n = $1`, []any{int64(n)}, []any{&head, &packed})
	if err != nil || !ok {
		return v, false, err
	}
	if v, err = versionHead(int64(n), head); err != nil {
		return v, false, err
	}
	doc, err := unpack(packed)
	if err != nil {
		return v, false, fmt.Errorf("%s: %w", doing, err)
	}
	v.Rules = &admin.Rules{}
	if err := json.Unmarshal(doc, v.Rules); err != nil {
		return v, false, fmt.Errorf("%s: %w", doing, err)
	}
	return v, true, nil
}
