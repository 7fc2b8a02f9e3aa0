package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"rutile/internal/access"
	"rutile/internal/admin"
)

// TokenActor is whom changes made with the operator token are recorded as.
const TokenActor = "operator-token"

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

// Local answers on the unix socket: to root and to the gateway's own user.
func (a *API) Local() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := r.Context().Value(peerKey).(peer)
		switch {
		case !ok || p.err != nil:
			if p.err != nil {
				a.cfg.Log.Warn("the user at the socket is not known", "error", p.err)
			}
			a.refuse(w, r, access.Errorf(access.CodeUnauthenticated, "the system does not say which user calls: set RUTILE_URL and RUTILE_TOKEN_FILE to use the operators' address"))
		case p.uid != 0 && p.uid != a.cfg.UID:
			a.refuse(w, r, access.Errorf(access.CodeDenied, "user %d may not administer this gateway: only root and user %d, who runs it, may", p.uid, a.cfg.UID))
		default:
			a.mux.ServeHTTP(w, withActor(r, admin.Actor{Kind: "local", ID: strconv.Itoa(p.uid)}))
		}
	})
}

// Remote answers on the operators' address: to whoever holds the token. A page
// in a browser can name any Host and Origin but ours, so both are checked.
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
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(token))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			a.refuse(w, r, access.Errorf(access.CodeUnauthenticated, "send the operator token as Authorization: Bearer …; it is in the file operator.token of the gateway's data directory"))
			return
		}
		a.mux.ServeHTTP(w, withActor(r, admin.Actor{Kind: "user", ID: TokenActor}))
	})
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
