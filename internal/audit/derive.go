package audit

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// deriver makes index rows from leaves and the keys that still exist. It is
// what a reindex, a late index and recovery use; rows made while a leaf is
// written are equal (row.go).
type deriver struct {
	l      *Log
	names  map[string]entity
	era    uint64 // of the keys names was read with
	loaded bool   // names was read since the last miss was looked up
}

func newDeriver(l *Log) *deriver {
	return &deriver{l: l, names: map[string]entity{}}
}

// row derives the row of the leaf at index. That of an outcome says only what
// it adds to its call.
func (d *deriver) row(ctx context.Context, index uint64, leaf []byte) (Row, error) {
	v, err := parseLeaf(leaf)
	if err != nil {
		return Row{}, fmt.Errorf("deriving the row of leaf %d: %w", index, err)
	}
	return d.rowOf(ctx, index, v)
}

// rowOf derives the row of a leaf that was read.
func (d *deriver) rowOf(ctx context.Context, index uint64, v value) (Row, error) {
	at, err := time.Parse(time.RFC3339Nano, v.get("at").str)
	if err != nil {
		return Row{}, fmt.Errorf("deriving the row of leaf %d: its time is malformed", index)
	}
	ids, erased, err := d.opened(ctx, v)
	if err != nil {
		return Row{}, fmt.Errorf("deriving the row of leaf %d: %w", index, err)
	}
	row := Row{Intent: -1}
	switch v.get("type").str {
	case typeIntent, typeVerdict:
		row, err = d.call(ctx, v, ids)
	case typeOutcome:
		row = outcomeRow(uint64(v.get("intent").get("i").num), v.get("st").str, v.get("findings").strings(), union(nil, v.get("labels_added").strings()), v.get("release").get("masks").strings())
	case typeAdmin, typeRevocation, typeReceipt, typeErasure, typeRetention:
		row, err = d.admin(ctx, v, ids)
	case typeLoss:
		row.Text = joinText("loss", v.get("stream").str, v.get("why").str)
	}
	if err != nil {
		return Row{}, fmt.Errorf("deriving the row of leaf %d: %w", index, err)
	}
	row.Erased = erased
	row.Origin, row.Index, row.LeafID, row.Type, row.At = d.l.cfg.Origin, index, v.get("id").str, v.get("type").str, at.UTC()
	return row, nil
}

// opened returns what the leaf seals; nothing, and that it is erased, once its key
// is destroyed.
func (d *deriver) opened(ctx context.Context, v value) (ids sealedIDs, erased bool, err error) {
	if v.get("sealed").kind == 0 {
		return ids, false, nil
	}
	plain, err := d.l.openSealed(ctx, v)
	if errors.Is(err, errNoKey) {
		return ids, true, nil
	}
	if err != nil {
		return ids, false, err
	}
	return ids, false, json.Unmarshal(plain, &ids)
}

// openSealed decrypts the member "sealed" of a leaf.
func (l *Log) openSealed(ctx context.Context, v value) ([]byte, error) {
	ct, err := base64.RawURLEncoding.DecodeString(v.get("sealed").str)
	if err != nil {
		return nil, errors.New("what the leaf seals is malformed")
	}
	return l.decrypt(ctx, v, sealIDs, ct)
}

// decrypt opens a ciphertext that belongs to a leaf.
func (l *Log) decrypt(ctx context.Context, v value, what string, ct []byte) ([]byte, error) {
	key, err := l.keys.openKey(ctx, v.get("key").str)
	if err != nil {
		return nil, err
	}
	aead := key.aead
	if month := v.get("pay").get("k").str; month != "" && what == sealPayload {
		pays, err := l.keys.payloadKey(ctx, key, month, nil)
		if err != nil {
			return nil, err
		}
		aead = pays.aead
	}
	plain, err := open(aead, key.associated(v.get("tenant").str, v.get("id").str, v.get("class").str, what), ct)
	if err != nil {
		// A database that lost its keys makes others under the same names.
		return nil, fmt.Errorf("%w: another stands under its name", errNoKey)
	}
	return plain, nil
}

// name returns the id behind a pseudonym, "" once its key is destroyed.
func (d *deriver) name(ctx context.Context, p string) (string, error) {
	if era := d.l.keys.now(); era != d.era { // a key may have been destroyed
		d.names, d.era, d.loaded = map[string]entity{}, era, false
	}
	if e, ok := d.names[p]; ok || p == "" {
		return e.ID, nil
	}
	if !d.loaded {
		names, err := d.l.keys.pseudonyms(ctx)
		if err != nil {
			return "", err
		}
		d.names, d.loaded = names, true
	}
	return d.names[p].ID, nil
}

func (d *deriver) call(ctx context.Context, v value, ids sealedIDs) (Row, error) {
	dec, what, who := v.get("dec"), v.get("what"), v.get("who")
	agent, err := d.name(ctx, who.get("agent").str)
	if err != nil {
		return Row{}, err
	}
	subject, err := d.name(ctx, who.get("subject").str)
	if err != nil {
		return Row{}, err
	}
	row := Row{
		Decision: dec.get("id").str, Outcome: dec.get("out").str, Would: dec.get("would").str,
		Agent: agent, Subject: subject, Session: ids.Session, Task: ids.Task,
		Server: either(what.get("server").str, ids.Server),
		Method: either(what.get("method").str, ids.Method),
		Tool:   either(what.get("tool").str, ids.Target),

		TraceID:  v.get("trace").str,
		Grant:    v.get("why").get("grant").str,
		Labels:   union(nil, v.get("touched").get("labels").strings()),
		Policies: policies(dec.get("permits").strings(), dec.get("forbids").strings(), dec.get("errors").strings(), dec.get("masks").strings(), dec.get("shadow").get("by").strings()),
		Intent:   -1,
	}
	row.Policies = unhide(row.Policies, agent, who.get("agent").str)
	row.Text = callText(&row, dec.get("masks").strings(), dec.get("class").str, ids.Reason)
	return row, nil
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// intent derives the row of the intent of the outcome o.
func (d *deriver) intent(ctx context.Context, o *Row) (Row, error) {
	leaf, err := d.l.Leaf(ctx, uint64(o.Intent))
	if err != nil {
		return Row{}, fmt.Errorf("the intent of leaf %d: %w", o.Index, err)
	}
	if typ, err := topString(leaf, "type"); err != nil || typ != typeIntent {
		return Row{}, fmt.Errorf("leaf %d is not the intent of leaf %d", o.Intent, o.Index)
	}
	return d.row(ctx, uint64(o.Intent), leaf)
}

func (d *deriver) admin(ctx context.Context, v value, ids sealedIDs) (Row, error) {
	actor := v.get("actor").str
	if actor != systemActor {
		var err error
		if actor, err = d.name(ctx, actor); err != nil {
			return Row{}, err
		}
	}
	object := v.get("object")
	name := object.get("id").str
	if ofAgent(object.get("kind").str) {
		var err error
		if name, err = d.name(ctx, name); err != nil {
			return Row{}, err
		}
	}
	row := Row{Decision: v.get("change").str, Actor: actor, Object: either(name, ids.Object), Intent: -1}
	row.Grant = grantOf(object.get("kind").str, row.Object)
	row.Text = adminText(&row, v.get("verb").str, object.get("kind").str, ids.Reason)
	return row, nil
}
