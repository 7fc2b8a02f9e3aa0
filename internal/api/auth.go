package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"os/user"
	"strconv"
	"strings"

	"rutile/internal/access"
	"rutile/internal/admin"
)

// TokenActor is whom changes made with the operator token are recorded as.
const TokenActor = admin.OperatorToken

type contextKey int

const (
	actorKey contextKey = iota
	peerKey
)

func withActor(r *http.Request, a admin.Actor) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), actorKey, a))
}

func actorOf(ctx context.Context) (admin.Actor, bool) {
	a, ok := ctx.Value(actorKey).(admin.Actor)
	return a, ok
}

// peer is who the system says is at the other end of a socket.
type peer struct {
	uid int
	err error
}

// ConnContext keeps who is at the other end of a unix socket. It belongs into
// http.Server.ConnContext of the server that serves Local.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	var p peer
	if u, ok := c.(*net.UnixConn); ok {
		p.uid, p.err = peerUID(u)
	} else {
		p.err = access.Errorf(access.CodeUnauthenticated, "this is no unix socket")
	}
	return context.WithValue(ctx, peerKey, p)
}

// systemAccount asks the system for the name of an account.
func systemAccount(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return ""
	}
	return u.Username
}

// Local answers on the unix socket: to root and to the gateway's own account,
// which are admins, and to accounts that an active user names. Whoever a user
// names acts as that user.
func (a *API) Local() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := r.Context().Value(peerKey).(peer)
		switch {
		case !ok || p.err != nil:
			if p.err != nil {
				a.cfg.Log.Warn("the user at the socket is not known", "error", p.err)
			}
			a.refuse(w, r, access.Errorf(access.CodeUnauthenticated, "the system does not say which user calls: set RUTILE_URL and RUTILE_TOKEN_FILE to use the operators' address"))
		default:
			actor, err := a.deps.Admin.LocalActor(r.Context(), admin.Account{UID: strconv.Itoa(p.uid), Name: a.cfg.Account(p.uid)}, p.uid == 0 || p.uid == a.cfg.UID)
			if err != nil {
				a.refuse(w, r, err)
				return
			}
			a.mux.ServeHTTP(w, withActor(r, actor))
		}
	})
}

// Remote answers on the operators' address: to whoever holds the operator token
// or a personal token, sent in the Authorization header and nowhere else. An
// agent's access token is neither. A page in a browser can name any Host and
// Origin but ours, so both are checked.
func (a *API) Remote() http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	want := sha256.Sum256([]byte(a.cfg.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.hosts[r.Host] {
			a.refuse(w, r, access.Errorf(access.CodeDenied, "this address does not answer to that Host"))
			return
		}
		if err := crossOrigin.Check(r); err != nil || foreign(r) {
			a.refuse(w, r, access.Errorf(access.CodeDenied, "requests from other origins are refused"))
			return
		}
		actor, err := a.bearer(r, want)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		a.mux.ServeHTTP(w, withActor(r, actor))
	})
}

// bearer returns who sends a request by its token. Every token that does not
// count is answered in the same words.
func (a *API) bearer(r *http.Request, operator [sha256.Size]byte) (admin.Actor, error) {
	refused := access.Errorf(access.CodeUnauthenticated, "send the operator token or a personal token that counts as Authorization: Bearer …; the operator token is in the file operator.token of the gateway's data directory, personal tokens come from rutile user token create")
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return admin.Actor{}, refused
	}
	got := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(got[:], operator[:]) == 1 {
		return admin.Actor{Kind: "user", ID: TokenActor, Host: true}, nil
	}
	if !strings.HasPrefix(token, admin.UserTokenPrefix) {
		return admin.Actor{}, refused
	}
	actor, err := a.deps.Admin.Authenticate(r.Context(), token)
	if access.CodeOf(err) == access.CodeUnauthenticated {
		return admin.Actor{}, refused
	}
	return actor, err
}

// foreign reports whether a browser sends the request from another origin, for
// reads too, which CrossOriginProtection lets pass.
func foreign(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host != r.Host
}
