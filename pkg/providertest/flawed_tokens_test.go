package providertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

const accounts = "https://accounts.example"

func (f flawed) ExchangeCode(ctx context.Context, in *contracts.Integration, code, redirect string) (contracts.Token, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}}
	if verifier, ok := contracts.PKCEVerifierFrom(ctx); ok && !f.is("no verifier") {
		form.Set("code_verifier", verifier)
	}
	switch f.flaw {
	case "the code is forgotten":
		form.Del("code")
	case "no redirect at the exchange":
		form.Del("redirect_uri")
	}
	return f.token(ctx, in, form)
}

func (f flawed) RefreshToken(ctx context.Context, in *contracts.Integration) (contracts.Token, error) {
	stored, err := contracts.CredentialsOf[contracts.Token](in)
	if err != nil {
		return contracts.Token{}, err
	}
	if stored.RefreshToken == "" && !f.is("refreshes without a refresh token") {
		err := errors.New("there is no refresh token")
		if f.is("waits for a refresh token") {
			return contracts.Token{}, err
		}
		return contracts.Token{}, contracts.Permanent(err)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {stored.RefreshToken}}
	switch f.flaw {
	case "the access token for the refresh token":
		form.Set("refresh_token", stored.AccessToken)
	case "another grant type":
		form.Set("grant_type", "refresh")
	}
	token, err := f.token(ctx, in, form)
	switch {
	case f.is("sends the refresh token twice"), f.is("sends a refused refresh token again") && err != nil && !contracts.IsPermanent(err):
		token, err = f.token(ctx, in, form)
	case f.is("the old refresh token is kept") && err == nil:
		token.RefreshToken = stored.RefreshToken
	case f.is("keeps the first token") && err == nil:
		token.AccessToken = f.state.first(token.AccessToken)
	}
	return token, err
}

func (f flawed) RevokeToken(ctx context.Context, in *contracts.Integration) error {
	stored, err := contracts.CredentialsOf[contracts.Token](in)
	if err != nil {
		return err
	}
	form := url.Values{"token": {stored.RefreshToken}}
	if f.is("revokes without a token") {
		form = url.Values{}
	}
	res, err := f.post(ctx, in, accounts+"/revoke", form)
	if f.is("takes every grant for revoked") {
		return nil
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

func (f flawed) OAuth2Hosts(in *contracts.Integration) ([]string, error) {
	if f.is("requests to a host that is not named") {
		hosts, err := contracts.MetadataHosts(in)
		return append(hosts, accounts), err
	}
	if f.is("tokens of a host that is not named") {
		return []string{"login.example"}, nil
	}
	return []string{accounts}, nil
}

// post sends a form of the client, with one flaw or none.
func (f flawed) post(ctx context.Context, in *contracts.Integration, address string, form url.Values) (*http.Response, error) {
	credentials, err := contracts.CredentialsOf[secrets](in)
	if err != nil {
		return nil, err
	}
	switch f.flaw {
	case "the client's secret in the address of tokens":
		address += "?client_secret=" + credentials.Secret
	case "the grant in the address of tokens":
		address += "?" + form.Encode()
		form = url.Values{}
	case "tokens without the context":
		ctx = context.WithoutCancel(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if !f.is("a form that is not called one") {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if !f.is("a client without a name") {
		req.SetBasicAuth("us", credentials.Secret)
	}
	client := *in.HTTP()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client.Do(req)
}

// token asks for a token.
func (f flawed) token(ctx context.Context, in *contracts.Integration, form url.Values) (contracts.Token, error) {
	began := time.Now()
	res, err := f.post(ctx, in, accounts+"/token", form)
	if err != nil {
		if f.is("a token request in an error") {
			return contracts.Token{}, fmt.Errorf("%s: %w", form.Encode(), err)
		}
		return contracts.Token{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return contracts.Token{}, err
	}
	if f.is("tokens in a log") {
		in.Log().Info("got a token", "answer", string(body))
	}
	var said struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Life    int    `json:"expires_in"`
		Error   string `json:"error"`
	}
	decoded := json.Unmarshal(body, &said)
	if err := f.refusal(res.StatusCode, said.Access, said.Error, decoded); err != nil {
		if f.is("a refresh token alone is lost") {
			said.Refresh = ""
		}
		return contracts.Token{RefreshToken: said.Refresh}, err
	}
	return f.tokenOf(said.Access, said.Refresh, began, said.Life), nil
}

// refusal is what an answer without a token comes to.
func (f flawed) refusal(status int, access, code string, decoded error) error {
	failed := fmt.Errorf("the upstream answers %d %s", status, code)
	switch {
	case f.is("takes every answer for a token"):
		return nil
	case f.is("takes 200 for a token") && status == http.StatusOK:
		return nil
	case f.is("looks for the token alone") && access != "":
		return nil
	case code == "invalid_grant" && !f.is("an ended grant is tried again"):
		return contracts.Permanent(failed)
	case f.is("a failing server ends the grant") && status >= http.StatusInternalServerError,
		f.is("an unknown client ends the grant") && code == "invalid_client",
		f.is("what is not JSON ends the grant") && decoded != nil,
		f.is("too many requests end the grant") && status == http.StatusTooManyRequests:
		return contracts.Permanent(failed)
	case status != http.StatusOK || access == "" || decoded != nil:
		return failed
	}
	return nil
}

func (f flawed) tokenOf(access, refresh string, began time.Time, life int) contracts.Token {
	ends := began.Add(time.Duration(life) * time.Second)
	token := contracts.Token{AccessToken: access, RefreshToken: refresh, ExpiresAt: &ends}
	if life == 0 && !f.is("no life is a life of nothing") {
		token.ExpiresAt = nil
	}
	switch f.flaw {
	case "the refresh token is lost":
		token.RefreshToken = ""
	case "a life of an hour":
		ends = began.Add(time.Hour)
	case "the life of a token in milliseconds":
		ends = began.Add(time.Duration(life) * time.Millisecond)
	case "the life of a token in minutes":
		ends = began.Add(time.Duration(life) * time.Minute)
	case "the life of a token since 1970":
		ends = time.Unix(int64(life), 0)
	case "a token without an end":
		token.ExpiresAt = nil
	}
	return token
}
