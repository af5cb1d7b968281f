package oauth2_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/oauth2"
)

const tokenJSON = `{"access_token":"new","refresh_token":"fresh","token_type":"bearer","expires_in":%s}`

// An answer that holds a token is a token, whatever else there is about it.
func TestAnswersThatHoldAToken(t *testing.T) {
	hour := time.Hour
	in := func(d time.Duration) *time.Duration { return &d }
	tests := map[string]struct {
		body, kind string
		header     []string
		life       *time.Duration
	}{
		"whole seconds":          {fmt.Sprintf(tokenJSON, "3600"), "", nil, &hour},
		"a fraction":             {fmt.Sprintf(tokenJSON, "3599.87"), "", nil, in(3599870 * time.Millisecond)},
		"a float":                {fmt.Sprintf(tokenJSON, "3600.0"), "", nil, &hour},
		"an exponent":            {fmt.Sprintf(tokenJSON, "3.6e3"), "", nil, &hour},
		"a string":               {fmt.Sprintf(tokenJSON, `" 3600 "`), "", nil, &hour},
		"an empty string":        {fmt.Sprintf(tokenJSON, `""`), "", nil, nil},
		"null":                   {fmt.Sprintf(tokenJSON, `null`), "", nil, nil},
		"words":                  {fmt.Sprintf(tokenJSON, `"an hour"`), "", nil, nil},
		"an object":              {fmt.Sprintf(tokenJSON, `{}`), "", nil, nil},
		"not a number":           {fmt.Sprintf(tokenJSON, `"NaN"`), "", nil, nil},
		"zero":                   {fmt.Sprintf(tokenJSON, `0`), "", nil, nil},
		"negative":               {fmt.Sprintf(tokenJSON, `-1`), "", nil, in(-time.Second)},
		"for ever":               {fmt.Sprintf(tokenJSON, `1e300`), "", nil, nil},
		"beyond a float":         {fmt.Sprintf(tokenJSON, `1e999`), "", nil, nil},
		"missing":                {`{"access_token":"new","refresh_token":"fresh"}`, "", nil, nil},
		"a mark of byte order":   {"\xef\xbb\xbf" + fmt.Sprintf(tokenJSON, "3600"), "", nil, &hour},
		"a strange content type": {fmt.Sprintf(tokenJSON, "3600"), "text/html", nil, &hour},
		"JSON called a form":     {fmt.Sprintf(tokenJSON, "3600"), "application/x-www-form-urlencoded", nil, &hour},
		"a form":                 {"access_token=new&refresh_token=fresh&expires_in=3600", "application/x-www-form-urlencoded", nil, &hour},
		"a form called JSON":     {"access_token=new&refresh_token=fresh&expires_in=3600\n", "application/json", nil, &hour},
		"something behind":       {fmt.Sprintf(tokenJSON, "3600") + "\n<!-- cached -->", "", nil, &hour},
		"other spellings":        {`{"accessToken":"new","Refresh-Token":"fresh","expiresIn":3600}`, "", nil, &hour},
		"both spellings":         {`{"access_token":"new","accessToken":"x","refreshToken":"y","refresh_token":"fresh"}`, "", nil, nil},
		"nested":                 {`{"status":"ok","data":` + fmt.Sprintf(tokenJSON, "3600") + `}`, "", nil, &hour},
		"seconds in expires":     {`{"access_token":"new","refresh_token":"fresh","expires":3600}`, "", nil, &hour},
		"a time, by their clock": {
			`{"access_token":"new","refresh_token":"fresh","expires_at":"2020-01-01T13:00:00Z"}`, "",
			[]string{"Date", "Wed, 01 Jan 2020 12:00:00 GMT"},
			&hour,
		},
		"seconds since 1970": {
			`{"access_token":"new","refresh_token":"fresh","expires_on":"1577883600"}`, "", []string{"Date", "Wed, 01 Jan 2020 12:00:00 GMT"}, &hour,
		},
		"milliseconds since 1970": {
			`{"access_token":"new","refresh_token":"fresh","expires":1577883600000}`, "", []string{"Date", "Wed, 01 Jan 2020 12:00:00 GMT"}, &hour,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			header := tt.header
			if tt.kind != "" {
				header = append(header, "Content-Type", tt.kind)
			}
			s := answering(t, answer(http.StatusOK, tt.body, header...))
			before := time.Now()
			token, err := s.flow().RefreshToken(t.Context(), integration(stored))
			if err != nil || token.AccessToken != "new" || token.RefreshToken != "fresh" {
				t.Fatalf("got %q and %q, %v", token.AccessToken, token.RefreshToken, err)
			}
			if len(s.sent()) != 1 {
				t.Errorf("the refresh token was sent %d times", len(s.sent()))
			}
			if (token.ExpiresAt == nil) != (tt.life == nil) {
				t.Fatalf("it ends at %v", token.ExpiresAt)
			}
			if tt.life != nil {
				from, to := before.Add(*tt.life), time.Now().Add(*tt.life)
				if token.ExpiresAt.Before(from.Truncate(time.Millisecond)) || token.ExpiresAt.After(to) {
					t.Errorf("it ends at %s, want %s to %s", token.ExpiresAt, from, to)
				}
			}
		})
	}
}

// What an answer holds of tokens comes with its refusal, so that a refresh token that replaces a spent one is not lost.
func TestTokensThatAreNoGood(t *testing.T) {
	tests := map[string]struct{ body, want, access string }{
		"of another type":   {`{"access_token":"new","refresh_token":"fresh","token_type":"mac"}`, `"mac"`, "new"},
		"bound to a key":    {`{"access_token":"new","refresh_token":"fresh","token_type":"DPoP"}`, `"DPoP"`, "new"},
		"no access token":   {`{"refresh_token":"fresh"}`, "no access_token", ""},
		"null access token": {`{"access_token":null,"refresh_token":"fresh"}`, "no access_token", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := answering(t, answer(http.StatusOK, tt.body))
			token, err := s.flow().RefreshToken(t.Context(), integration(stored))
			if err == nil || contracts.IsPermanent(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %s in it", err, tt.want)
			}
			if token.RefreshToken != "fresh" || token.AccessToken != tt.access {
				t.Errorf("got %q and %q", token.AccessToken, token.RefreshToken)
			}
		})
	}
}

// A refusal is understood in whatever form it comes.
func TestRefusalsThatEndAGrant(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
	}{
		{400, `{"error":"invalid_grant"}`},
		{400, "\xef\xbb\xbf" + `{"error":"invalid_grant"}`},
		{400, `error=invalid_grant&error_description=gone`},
		{400, `{"error":{"code":"invalid_grant"}}`},
		{400, `{"error":{"type":"invalid_grant","message":"The refresh token is invalid"}}`},
		{400, `{"error":{"code":400,"status":"INVALID_GRANT"}}`},
		{400, `{"errorCode":"invalid_grant"}`},
		{400, `{"error_code":"InvalidGrant","message":"gone"}`},
		{400, `{"errors":[{"code":"invalid_grant"}]}`},
		{400, `{"errors":["invalid_grant"]}`},
		{400, `{"fault":{"detail":{"errorcode":"token_expired"}}}`},
		{400, `{"code":"invalid_grant"}`},
		{400, `{"error":"interaction_required","suberror":"consent_required"}`},
		{400, `{"error":"bad_request","suberror":"consent_required"}`},
		{401, `{"error":"token_inactive"}`},
		{403, `{"error":"login_required"}`},
		{401, `{"error":"invalid_token"}`},
		{200, `{"ok":false,"error":"invalid_refresh_token"}`},
		{200, `{"ok":false,"error":"token_revoked"}`},
	} {
		t.Run(fmt.Sprint(tt.status, tt.body), func(t *testing.T) {
			s := answering(t, answer(tt.status, tt.body))
			if _, err := s.flow().RefreshToken(t.Context(), integration(stored)); !contracts.IsPermanent(err) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	for _, tt := range []struct {
		status   int
		body     string
		want     string
		executed bool
	}{
		{400, `{"error":"invalid_request"}`, "invalid_request", false},
		{401, `{"error":{"code":"invalid_client"}}`, "invalid_client", false},
		{403, `Forbidden`, "403", false},
		{403, ``, "403", false},
		{400, `{"error":"The invalid_grant of today"}`, "400: The invalid_grant of today", false},
		{400, `{"status":"error","message":"no"}`, "400: no", false},
		{500, `{"error":"server_error"}`, "server_error", true},
		{200, `{"status":"ok"}`, "no access_token", true},
	} {
		t.Run(fmt.Sprint(tt.status, tt.body), func(t *testing.T) {
			s := answering(t, answer(tt.status, tt.body))
			_, err := s.flow().RefreshToken(t.Context(), integration(stored))
			refused, ok := errors.AsType[*oauth2.Error](err)
			if !ok || contracts.IsPermanent(err) || !strings.Contains(err.Error(), tt.want) || refused.Executed() != tt.executed {
				t.Errorf("the error is %v, want %q in it, executed %t", err, tt.want, tt.executed)
			}
		})
	}
}
