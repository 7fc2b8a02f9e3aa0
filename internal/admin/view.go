package admin

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"rutile/internal/access"
)

// View is a page as somebody likes to see it: the query of its address under a name.
type View struct {
	Name  string
	Query string
	At    time.Time
}

// ViewStore keeps views.
type ViewStore interface {
	// Views returns what somebody keeps of a page, by name.
	Views(ctx context.Context, owner, page string) ([]View, error)
	// PutView keeps a view in place of one of its name; false, and nothing is kept,
	// where there are already so many others.
	PutView(ctx context.Context, owner, page string, v View, most int) (bool, error)
	// DropView forgets a view; false if it was not there.
	DropView(ctx context.Context, owner, page, name string) (bool, error)
}

// Views are what people keep of pages, each for themselves. A view gives no right and
// changes nothing anybody else sees, so it leaves no evidence (decision 0144). It is safe
// for concurrent use.
type Views struct {
	admin *Admin
	store ViewStore
}

// NewViews returns Views. Both are required.
func NewViews(a *Admin, s ViewStore) (*Views, error) {
	if a == nil || s == nil {
		return nil, errors.New("admin: a dependency is missing")
	}
	return &Views{a, s}, nil
}

// Bounds of what one person keeps of one page.
const (
	maxViews     = 50
	maxViewName  = 60 // characters
	maxViewQuery = 2048
)

// Of returns what an actor keeps of a page.
func (v *Views) Of(ctx context.Context, actor Actor, page string) ([]View, error) {
	return v.store.Views(ctx, actor.String(), page)
}

// Save keeps the query of a page's address for an actor.
func (v *Views) Save(ctx context.Context, actor Actor, page, name, query string) error {
	if err := v.admin.Authorize(ctx, actor, OpOwn); err != nil {
		return err
	}
	name = strings.TrimSpace(name)
	switch q, err := url.ParseQuery(query); {
	case name == "" || !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxViewName || strings.ContainsFunc(name, hidden):
		return access.Errorf(access.CodeInvalid, "a view needs a name of at most %d characters that can be seen", maxViewName)
	case err != nil || len(query) > maxViewQuery || len(q) == 0:
		return access.Errorf(access.CodeInvalid, "there is no filter to keep: choose one first, %d bytes at most", maxViewQuery)
	}
	ok, err := v.store.PutView(ctx, actor.String(), page, View{name, query, v.admin.now()}, maxViews)
	if err == nil && !ok {
		return access.Errorf(access.CodeConflict, "you keep %d views of this page: forget one first", maxViews)
	}
	return err
}

// Forget drops a view of an actor.
func (v *Views) Forget(ctx context.Context, actor Actor, page, name string) error {
	if err := v.admin.Authorize(ctx, actor, OpOwn); err != nil {
		return err
	}
	ok, err := v.store.DropView(ctx, actor.String(), page, name)
	if err == nil && !ok {
		return access.Errorf(access.CodeNotFound, "you keep no view called %q", clip(name))
	}
	return err
}
