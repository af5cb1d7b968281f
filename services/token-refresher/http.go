package tokenrefresher

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/httpserver"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// maxParameter is how long anything may be that comes in an address.
const maxParameter = 4 << 10

// serveHTTP serves the routes for browsers until ctx ends.
func (r *Refresher) serveHTTP(ctx context.Context) error {
	if r.Settings.Addr == "" || len(r.keys) == 0 {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", r.Settings.Addr)
	if err != nil {
		return fmt.Errorf("serve the OAuth routes: %w", err)
	}
	r.Log.Info("OAuth routes served", "address", listener.Addr().String(), "url", r.Settings.PublicURL)
	drain := httpserver.Drain{Delay: r.Settings.DrainDelay, Grace: r.Settings.Grace}
	return httpserver.New(httpserver.Config{
		Name: "the OAuth routes", Handler: r.Handler(), Limits: httpserver.DefaultLimits(), Drain: drain, Trusted: r.Settings.TrustedProxy, Log: r.Log,
	}).Serve(ctx, listener)
}

// Handler is the routes for browsers.
func (r *Refresher) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /integrations/{id}/oauth/authorize", r.authorize)
	mux.HandleFunc("GET "+callbackPath, r.callBack)
	mux.HandleFunc("POST /integrations/{id}/oauth/revoke", r.revokeByLink)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		mux.ServeHTTP(w, req)
	})
}

func (r *Refresher) authorize(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodHead {
		// Scanners of links look; they do not begin anything.
		return
	}
	a, ok := r.admitted(w, req, forAuthorize)
	if !ok {
		return
	}
	to, err := r.depart(req.Context(), a.integration, req.URL.Query().Get("by"), a.link)
	if err != nil {
		r.fail500(w, req, "begin an authorization", err)
		return
	}
	http.SetCookie(w, r.cookie(to.cookie, to.value, int(r.Settings.StateLife.Seconds())))
	http.Redirect(w, req, to.url, http.StatusFound)
}

// admission is a link that was let in.
type admission struct {
	integration uuid.UUID
	// link is the hash that the link is known by, cookie and browser those of the browser that it belongs to.
	link            []byte
	cookie, browser string
}

// admitted lets a request with a good link in, from the browser that opened it first. Whoever has none is answered alike, whatever
// there is behind it.
func (r *Refresher) admitted(w http.ResponseWriter, req *http.Request, what string) (a admission, ok bool) {
	id, err := uuid.Parse(req.PathValue("id"))
	signature, until, good := r.admits(what, id, req.URL.Query())
	if err != nil || !good {
		r.page(w, http.StatusForbidden, "This link does not work", "It is not valid, or it has expired. Ask for a new one.")
		return admission{}, false
	}
	a = admission{integration: id, cookie: r.cookieOf(string(signature)), browser: random()}
	if cookie, err := req.Cookie(a.cookie); err == nil {
		a.browser = cookie.Value
	}
	if a.link, ok, err = r.Store.OpenLink(req.Context(), signature, a.browser, until); err != nil {
		r.fail500(w, req, "open a link", err)
		return admission{}, false
	}
	if !ok {
		r.page(w, http.StatusForbidden, "This link was used already", "A link works once, in the browser that opens it first. Ask for a new one.")
		return a, false
	}
	// Also when what follows fails: the browser may try again.
	http.SetCookie(w, r.cookie(a.cookie, a.browser, int(r.Settings.LinkLife.Seconds())))
	return a, true
}

// cookie stays in the browser, out of reach of scripts; the redirect back from the upstream brings it along.
func (r *Refresher) cookie(name, value string, age int) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: r.secure(), SameSite: http.SameSiteLaxMode}
}

func (r *Refresher) callBack(w http.ResponseWriter, req *http.Request) {
	query, single := parameters(req)
	if !single || query["state"] == "" {
		r.page(w, http.StatusBadRequest, "This is no answer to an authorization", "It has no state, or something twice.")
		return
	}
	name := r.cookieOf(query["state"])
	cookie, err := req.Cookie(name)
	if err != nil {
		r.page(w, http.StatusBadRequest, "This authorization was not started here", "Open the link again, and stay in one browser until the end.")
		return
	}
	state, found, err := r.Store.ConsumeState(req.Context(), query["state"], cookie.Value, r.keys, r.Now())
	if err != nil {
		r.fail500(w, req, "take the state of an authorization", err)
		return
	}
	http.SetCookie(w, r.cookie(name, "", -1))
	if !found {
		r.page(w, http.StatusBadRequest, "This authorization is over", "It was used already, it took too long, or it was not started in this browser. Open the link again.")
		return
	}
	// The code is spent from here on, so it is no longer the browser's to break this off.
	ctx := context.WithoutCancel(req.Context())
	ends, err := r.arrive(ctx, state, arrival{
		code: query["code"], issuer: query["iss"], failure: query["error"], details: query["error_description"],
	})
	r.finish(w, req, state.Integration, ends, err)
}

// parameters are those of the query; false when one comes twice, which RFC 6749 section 3.1 forbids, or is too long.
func parameters(req *http.Request) (map[string]string, bool) {
	single := map[string]string{}
	for name, values := range req.URL.Query() {
		if len(values) != 1 || len(values[0]) > maxParameter {
			return nil, false
		}
		single[name] = values[0]
	}
	return single, true
}

func (r *Refresher) revokeByLink(w http.ResponseWriter, req *http.Request) {
	a, ok := r.admitted(w, req, forRevoke)
	if !ok {
		return
	}
	_, err := r.revoke(req.Context(), a.integration, false, req.URL.Query().Get("by"))
	r.finish(w, req, a.integration, nil, err)
}

// finish sends the browser where the configuration says, and nowhere else. ends is when the user has to come again; nil for never.
func (r *Refresher) finish(w http.ResponseWriter, req *http.Request, id uuid.UUID, ends *time.Time, err error) {
	code, text := "failed", "Something went wrong here. Try again later."
	if refused, ok := errors.AsType[*refusal](err); ok {
		code, text = refused.code, refused.text
	}
	values := url.Values{"integration": {id.String()}}
	if ends != nil {
		values.Set("ends", ends.UTC().Format(time.RFC3339))
	}
	switch {
	case err == nil && r.Settings.SuccessURL != "":
		http.Redirect(w, req, withQuery(r.Settings.SuccessURL, values), http.StatusSeeOther)
	case err == nil && ends != nil:
		r.page(w, http.StatusOK, "Done for now",
			"The access ends on "+ends.UTC().Format("2 January 2006 at 15:04 UTC")+" and can't be renewed without you: you will have to authorize again. You can close this window.")
	case err == nil:
		r.page(w, http.StatusOK, "Done", "You can close this window.")
	case r.Settings.ErrorURL != "":
		http.Redirect(w, req, withQuery(r.Settings.ErrorURL, url.Values{"integration": {id.String()}, "error": {shortCode(code)}}), http.StatusSeeOther)
	default:
		r.page(w, http.StatusBadRequest, "Not connected", shortCode(code)+": "+text)
	}
}

// withQuery adds to an address of the configuration, whose own query stays.
func withQuery(address string, add url.Values) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	query := u.Query()
	maps.Copy(query, add)
	u.RawQuery = query.Encode()
	return u.String()
}

// shortCode is an upstream's error code as far as it can be one.
func shortCode(code string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' {
			return c
		}
		return -1
	}, strings.ToLower(code[:min(len(code), 64)]))
}

func (r *Refresher) fail500(w http.ResponseWriter, req *http.Request, what string, err error) {
	var known *api.Error
	if errors.As(err, &known) || postgres.NotFound(err) {
		r.page(w, http.StatusNotFound, "There is nothing here", "The integration is gone.")
		return
	}
	// The address is not logged: it may hold a code.
	r.Log.Error("could not "+what, "path", req.URL.Path, "error", err)
	r.page(w, http.StatusServiceUnavailable, "That did not work", "Something went wrong here. Try again later.")
}

func (r *Refresher) page(w http.ResponseWriter, status int, title, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = pageTemplate().Execute(w, map[string]string{"Title": title, "Text": text})
}

func pageTemplate() *template.Template {
	return template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}}</title>
<style>body{font:18px/1.5 system-ui,sans-serif;max-width:34em;margin:20vh auto;padding:0 1em}</style>
<h1>{{.Title}}</h1><p>{{.Text}}</p></html>
`))
}
