package oauth2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// ErrNoRefreshToken is what a refresh without a refresh token ends with, permanently: the user must authorize again.
var ErrNoRefreshToken = errors.New("there is no refresh token")

// maxDescription is how much of an upstream's words an error repeats.
const maxDescription = 200

// Error is an authorization server's refusal. It never holds a token, nor the body of the answer.
type Error struct {
	// Status is the answer's HTTP status.
	Status int
	// Code is the OAuth error, such as invalid_grant; empty when the answer was none of OAuth's.
	Code string
	// Description is the server's, as far as it can be shown.
	Description string
}

func (e *Error) Error() string {
	text := fmt.Sprintf("the authorization server answered %d", e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Description != "" {
		text += ": " + e.Description
	}
	return text
}

// NewError makes a refusal of what a server answered: code and description are cut to what can be shown.
func NewError(status int, code, description string) *Error {
	return &Error{Status: status, Code: shown(code), Description: shown(description)}
}

// Executed reports whether the request may have been carried out although it failed, so that a rotating refresh token may be spent: a connection that
// broke, an answer that can't be read, a server that failed. It is not when the server refused: with a status of
// 4xx, or, as some do, with an OAuth error under a status of 2xx.
func (e *Error) Executed() bool { return e.Status/100 != 4 && (e.Status/100 != 2 || e.Code == "") }

// maxAnswer is how much of an answer is read.
const maxAnswer = 1 << 20

// ask sends a form to an endpoint, once, with the client's authentication, and reads the answer. It follows no redirect: that
// would send its secrets again, and elsewhere. An error means that there is no whole answer.
func ask(ctx context.Context, in *contracts.Integration, address string, client Client, form url.Values) (*http.Response, []byte, error) {
	if client.style() == oauth2.AuthStyleInParams {
		form.Set("client_id", client.ID)
		if client.Secret != "" {
			form.Set("client_secret", client.Secret)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, nil, errAddress
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if client.style() == oauth2.AuthStyleInHeader {
		req.SetBasicAuth(url.QueryEscape(client.ID), url.QueryEscape(client.Secret))
	}
	direct := *in.HTTP()
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := direct.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp, body, err
}

// errAddress is for endpoints that are no addresses. They are not quoted, for they may carry secrets.
var errAddress = errors.New("endpoint is not an address")

// token asks for a token. What an answer holds of tokens is returned with an error, too.
func (c Client) token(ctx context.Context, in *contracts.Integration, address string, form url.Values) (contracts.Token, error) {
	// The expiry counts from before the request, so that it is never too late.
	started := time.Now()
	resp, body, err := ask(ctx, in, address, c, form) //nolint:bodyclose // ask has read and closed it
	if err != nil && len(body) == 0 {
		return contracts.Token{}, fmt.Errorf("ask %s for a token: %w", hostOf(address), err)
	}
	token, refused := readToken(resp.StatusCode, resp.Header, body, started)
	if err != nil && (refused != nil || token.RefreshToken == "") {
		// What was cut off may be the refresh token.
		return token, fmt.Errorf("read the answer of %s: %w", hostOf(address), err)
	}
	return token, refused
}

// revoke asks the server to end a token (RFC 7009 section 2). A token that it doesn't know is ended already, which it answers with 200.
func revoke(ctx context.Context, in *contracts.Integration, address string, client Client) error {
	stored, err := storedTokens(in)
	if err != nil {
		return err
	}
	form := url.Values{"token": {stored.Refresh}, "token_type_hint": {"refresh_token"}}
	if stored.Refresh == "" {
		form = url.Values{"token": {stored.Access}, "token_type_hint": {"access_token"}}
	}
	if address == "" || form.Get("token") == "" {
		return nil
	}
	resp, body, err := ask(ctx, in, address, client, form) //nolint:bodyclose // ask has read and closed it
	switch {
	case resp == nil:
		return fmt.Errorf("revoke at %s: %w", hostOf(address), err)
	case resp.StatusCode/100 == 2:
		return nil
	default:
		return refusalOf(resp.StatusCode, resp.Header, fieldsOf(body), time.Now())
	}
}

// shown is upstream text on one line, redacted, cleaned and cut.
func shown(text string) string {
	return foreign.Clean(foreign.Redact(strings.Join(strings.Fields(text), " ")), maxDescription).String()
}
