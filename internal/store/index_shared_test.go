package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"rutile/internal/audit"
	"rutile/internal/store"
)

// Rows of a policy come in order from all lists it is on, few or many, and from
// no other.
func TestRowsOfAPolicyAreFoundOnEveryList(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		const lists = 70 // more than are read one beside the other
		rows := rowsUpTo(3 * lists)
		for i := range rows {
			rows[i].Policies = []string{"everywhere", fmt.Sprint("own-", i%lists)}
			if i%lists < 3 {
				rows[i].Policies = append(rows[i].Policies, "some")
			}
			if i%lists == 5 {
				rows[i].Policies = nil
			}
		}
		putRows(t, s, rows[:100], 100)
		if err := s.Close(); err != nil { // what lists are stored is remembered, and must not have to be
			t.Fatal(err)
		}
		s = open(t, cfg)
		putRows(t, s, rows[100:], uint64(len(rows)))
		every := indexes(rows)
		every = slices.DeleteFunc(every, func(i uint64) bool { return i%lists == 5 })
		for _, tt := range []struct {
			policy string
			want   []uint64
		}{
			{"everywhere", every},
			{"some", []uint64{0, 1, 2, 70, 71, 72, 140, 141, 142}},
			{"own-9", []uint64{9, 79, 149}},
			{"own-5", []uint64{}},
			{"own", []uint64{}},
		} {
			for _, following := range []bool{false, true} {
				q := audit.Query{Policy: tt.policy, Ascending: true, Following: following, Limit: 1000}
				if got := indexes(search(t, s, q)); !slices.Equal(got, tt.want) {
					t.Errorf("%s, following %t: got %v, want %v", tt.policy, following, got, tt.want)
				}
			}
			q := audit.Query{Policy: tt.policy, Origin: origin, Limit: 2}
			want := slices.Clone(tt.want)
			slices.Reverse(want)
			if got := indexes(search(t, s, q)); !slices.Equal(got, want[:min(2, len(want))]) {
				t.Errorf("%s: newest are %v, want %v", tt.policy, got, want[:min(2, len(want))])
			}
		}
	})
}

// The document written member by member is the one package json writes and
// reads: a member that is forgotten would be lost.
func TestADocumentHoldsEveryMember(t *testing.T) {
	full := audit.Row{}
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i).Addr().Interface().(type) {
		case *string:
			*f = v.Type().Field(i).Name + " \"\\\n\x00\xff<é"
		case *uint64:
			*f = 7
		case *int64:
			*f = -1
		case *bool:
			*f = true
		case *[]uint64:
			*f = []uint64{8, 9}
		case *[]string:
			*f = []string{"a", "", "\x00"}
		case *time.Time:
			*f = at(i).Add(120 * time.Microsecond)
		default:
			t.Fatalf("a row has a %T, which appendDoc must learn", f)
		}
	}
	for _, r := range []audit.Row{full, {}} {
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := store.AppendDoc(nil, &r)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if err := json.Unmarshal(got, &a); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if err := json.Unmarshal(want, &b); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// Only the index goes unsynced: what else is written on the connection waits for
// the disk, also after an index write that failed.
func TestOnlyTheIndexGoesUnsynced(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		query, want := `PRAGMA synchronous`, "2"
		if s.Dialect() == "postgres" {
			query, want = `SHOW synchronous_commit`, "on"
		}
		check := func(when string) {
			t.Helper()
			s.Writer().SetMaxOpenConns(1) // the one that was used
			var got string
			if err := s.Writer().QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %q %v, want %q", when, got, err, want)
			}
		}
		check("before")
		putRows(t, s, rowsUpTo(3), 3)
		check("after rows were put")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.PutRows(ended, origin, rowsUpTo(5), 5); err == nil {
			t.Error("rows were put for a caller that had gone")
		}
		check("after a caller had gone")
		if _, err := s.Writer().ExecContext(t.Context(), `DROP TABLE evidence_marks`); err != nil {
			t.Fatal(err)
		}
		if err := s.PutRows(t.Context(), origin, rowsUpTo(5), 5); err == nil {
			t.Error("rows were put without a mark")
		}
		check("after a transaction that failed")
	})
}
