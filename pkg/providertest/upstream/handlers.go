package upstream

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// Handler is the API with its faults, for servers of one's own; [Upstream.Start] serves it too.
func (u *Upstream) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/{owner}/{repo}", u.getRepository)
	mux.HandleFunc("GET /repos/{owner}/{repo}/issues", u.listIssues)
	mux.HandleFunc("POST /repos/{owner}/{repo}/issues", u.postIssue)
	mux.HandleFunc("GET /repos/{owner}/{repo}/issues/comments", u.listComments)
	mux.HandleFunc("GET /repos/{owner}/{repo}/issues/{number}", u.getIssue)
	mux.HandleFunc("PATCH /repos/{owner}/{repo}/issues/{number}", u.patchIssue)
	mux.HandleFunc("POST /repos/{owner}/{repo}/issues/{number}/comments", u.postComment)
	mux.HandleFunc("PATCH /repos/{owner}/{repo}/issues/comments/{id}", u.patchComment)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { notFound(w) })
	return u.counted(u.faulty(u.limited(u.authorized(mux))))
}

// authorized lets through who sends the token, and names the repository.
func (u *Upstream) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "bearer") && !strings.EqualFold(scheme, "token") || token != u.opts.Token {
			badCredentials(w)
			return
		}
		path := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if len(path) < 3 || !strings.EqualFold(path[1], u.opts.Owner) || !strings.EqualFold(path[2], u.opts.Repo) {
			notFound(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (u *Upstream) renderer(r *http.Request) renderer {
	if u.opts.PublicURL != "" {
		return renderer{u: u, base: strings.TrimSuffix(u.opts.PublicURL, "/")}
	}
	return renderer{u: u, base: "http://" + r.Host}
}

func (u *Upstream) getRepository(w http.ResponseWriter, r *http.Request) {
	body, err := json.Marshal(u.renderer(r).repository())
	if err != nil {
		u.fail(w, err)
		return
	}
	reply(w, r, http.StatusOK, body)
}

func (u *Upstream) getIssue(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		notFound(w)
		return
	}
	u.sendIssue(w, r, http.StatusOK, number)
}

func (u *Upstream) sendIssue(w http.ResponseWriter, r *http.Request, status, number int) {
	u.send(w, r, status, number, &u.store.issues, u.renderer(r).issue)
}

func (u *Upstream) sendComment(w http.ResponseWriter, r *http.Request, status, id int) {
	u.send(w, r, status, id, &u.store.comments, u.renderer(r).comment)
}

func (u *Upstream) send(w http.ResponseWriter, r *http.Request, status, key int, from *shelf, render func(ref) (json.RawMessage, error)) {
	u.mu.Lock()
	found, ok := from.get(key)
	var raw json.RawMessage
	var err error
	if ok {
		raw, err = render(found)
	}
	u.mu.Unlock()
	switch {
	case err != nil:
		u.fail(w, err)
	case !ok:
		notFound(w)
	default:
		reply(w, r, status, raw)
	}
}

func (u *Upstream) postIssue(w http.ResponseWriter, r *http.Request) {
	var change Change
	if !decode(w, r, &change) {
		return
	}
	if change.Title == nil || *change.Title == "" {
		problem(w, http.StatusUnprocessableEntity, "Validation Failed: title is missing")
		return
	}
	body := ""
	if change.Body != nil {
		body = *change.Body
	}
	u.sendIssue(w, r, http.StatusCreated, u.Add(*change.Title, body))
}

func (u *Upstream) patchIssue(w http.ResponseWriter, r *http.Request) {
	var change Change
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		notFound(w)
		return
	}
	if !decode(w, r, &change) {
		return
	}
	if s := change.State; s != nil && *s != "open" && *s != "closed" {
		problem(w, http.StatusUnprocessableEntity, "Validation Failed: state must be open or closed")
		return
	}
	if err := u.Edit(number, change); err != nil {
		notFound(w)
		return
	}
	u.sendIssue(w, r, http.StatusOK, number)
}

func (u *Upstream) postComment(w http.ResponseWriter, r *http.Request) {
	var change Change
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		notFound(w)
		return
	}
	if !decode(w, r, &change) {
		return
	}
	if change.Body == nil || *change.Body == "" {
		problem(w, http.StatusUnprocessableEntity, "Validation Failed: body is missing")
		return
	}
	id, err := u.AddComment(number, *change.Body)
	if err != nil {
		notFound(w)
		return
	}
	u.sendComment(w, r, http.StatusCreated, id)
}

func (u *Upstream) patchComment(w http.ResponseWriter, r *http.Request) {
	var change Change
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		notFound(w)
		return
	}
	if !decode(w, r, &change) {
		return
	}
	if change.Body == nil {
		problem(w, http.StatusUnprocessableEntity, "Validation Failed: body is missing")
		return
	}
	if err := u.EditComment(id, *change.Body); err != nil {
		notFound(w)
		return
	}
	u.sendComment(w, r, http.StatusOK, id)
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(into); err != nil {
		problem(w, http.StatusBadRequest, "Problems parsing JSON")
		return false
	}
	return true
}

// reply sends JSON, or, when the client has it already, says so.
func reply(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	sum := sha256.Sum256(body)
	tag := `W/"` + hex.EncodeToString(sum[:]) + `"`
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "private, max-age=60, s-maxage=60")
	h.Set("Vary", "Accept, Authorization, Cookie, X-GitHub-OTP")
	if r.Method == http.MethodGet && strings.Contains(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	write(w, status, body)
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// A client that went away is its own affair.
	_, _ = w.Write(body)
}

// problem answers as GitHub words its errors.
func problem(w http.ResponseWriter, status int, message string) {
	body, _ := json.Marshal(map[string]string{ // strings always encode
		"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status),
	})
	write(w, status, body)
}

func notFound(w http.ResponseWriter) { problem(w, http.StatusNotFound, "Not Found") }

func badCredentials(w http.ResponseWriter) {
	problem(w, http.StatusUnauthorized, "Bad credentials")
}

func (u *Upstream) fail(w http.ResponseWriter, err error) {
	u.opts.Log.Error("upstream failed", "error", err)
	problem(w, http.StatusInternalServerError, "Server Error")
}
