package oauth2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/oauth2"

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

// ended reports whether a refresh was refused because its grant has ended. RFC 6749 section 5.2 names invalid_grant; some servers answer a refresh token that was used before
// with unauthorized_client, and GitHub has bad_refresh_token.
func ended(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && slices.Contains([]string{"invalid_grant", "unauthorized_client", "bad_refresh_token"}, refused.Code)
}

// once returns a context for golang.org/x/oauth2 in which a request is sent through the integration's client and follows no redirect: that would
// send its secrets again, and elsewhere.
func once(ctx context.Context, in *contracts.Integration) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, direct(in))
}

func direct(in *contracts.Integration) *http.Client {
	client := *in.HTTP()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// got makes a token of what the library got. The expiry counts from before the request, so that it is never too late.
func got(get func() (*oauth2.Token, error)) (contracts.Token, error) {
	started := time.Now()
	answer, err := get()
	if err != nil {
		return contracts.Token{}, explain(err)
	}
	token := contracts.Token{AccessToken: answer.AccessToken, RefreshToken: answer.RefreshToken}
	if !answer.Expiry.IsZero() {
		expires := answer.Expiry.Add(-time.Since(started)).UTC()
		token.ExpiresAt = &expires
	}
	return token, nil
}

// explain keeps of the library's error what can be shown. An answer that says when to come again is a deferral.
func explain(err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.Response == nil {
		return fmt.Errorf("ask for a token: %w", err)
	}
	return answered(refused.Response, refused.ErrorCode, refused.ErrorDescription)
}

func answered(resp *http.Response, code, description string) error {
	refusal := NewError(resp.StatusCode, code, description)
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds >= 0 {
			return contracts.RetryAfter(time.Duration(seconds)*time.Second, refusal)
		}
	}
	return refusal
}

// revoke asks the server to end a token (RFC 7009 section 2). A token that it doesn't know is ended already, which it answers with 200.
func revoke(ctx context.Context, in *contracts.Integration, address, id, secret string, style oauth2.AuthStyle) error {
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
	if style == oauth2.AuthStyleInParams {
		form.Set("client_id", id)
		if secret != "" {
			form.Set("client_secret", secret)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return errors.New("the provider's RevokeURL is not an address")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if style == oauth2.AuthStyleInHeader {
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	resp, err := direct(in).Do(req)
	if err != nil {
		return fmt.Errorf("revoke at %s: %w", hostOf(address), err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 == 2 {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	code, description := refusalIn(body)
	return answered(resp, code, description)
}

// shown is upstream text without control characters, cut.
func shown(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > maxDescription {
		text = strings.ToValidUTF8(text[:maxDescription], "") + "…"
	}
	return text
}

func refusalIn(body []byte) (code, description string) {
	var refusal struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(body, &refusal)
	return refusal.Code, refusal.Description
}
