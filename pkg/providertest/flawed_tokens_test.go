package providertest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

func (f flawed) ExchangeCode(ctx context.Context, in *contracts.Integration, code, redirect string) (contracts.Token, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}}
	if f.is("the code is forgotten") {
		form.Del("code")
	}
	return f.token(ctx, in, form)
}

func (f flawed) RefreshToken(ctx context.Context, in *contracts.Integration) (contracts.Token, error) {
	stored, err := contracts.CredentialsOf[contracts.Token](in)
	if err != nil {
		return contracts.Token{}, err
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {stored.RefreshToken}}
	if f.is("the access token for the refresh token") {
		form.Set("refresh_token", stored.AccessToken)
	}
	token, err := f.token(ctx, in, form)
	switch {
	case f.is("sends the refresh token twice"):
		token, err = f.token(ctx, in, form)
	case f.is("the old refresh token is kept") && err == nil:
		token.RefreshToken = stored.RefreshToken
	}
	return token, err
}

// token asks for a token, with one flaw or none.
func (f flawed) token(ctx context.Context, in *contracts.Integration, form url.Values) (contracts.Token, error) {
	credentials, err := contracts.CredentialsOf[secrets](in)
	if err != nil {
		return contracts.Token{}, err
	}
	address := "https://accounts.example/token"
	switch f.flaw {
	case "the client's secret in the address of tokens":
		address += "?client_secret=" + credentials.Secret
	case "the grant in the address of tokens":
		address += "?" + form.Encode()
		form = url.Values{}
	}
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return contracts.Token{}, err
	}
	req.SetBasicAuth("us", credentials.Secret)
	client := *in.HTTP()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(req)
	if err != nil {
		return contracts.Token{}, err
	}
	defer res.Body.Close()
	var said struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Life    int    `json:"expires_in"`
		Error   string `json:"error"`
	}
	decoded := json.NewDecoder(res.Body).Decode(&said)
	if err := f.refusal(res.StatusCode, said.Access, said.Error, decoded); err != nil {
		return contracts.Token{}, err
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
	case f.is("a failing server ends the grant") && status >= http.StatusInternalServerError:
		return contracts.Permanent(failed)
	case status != http.StatusOK || access == "" || decoded != nil:
		return failed
	}
	return nil
}

func (f flawed) tokenOf(access, refresh string, began time.Time, life int) contracts.Token {
	ends := began.Add(time.Duration(life) * time.Second)
	token := contracts.Token{AccessToken: access, RefreshToken: refresh, ExpiresAt: &ends}
	switch f.flaw {
	case "the refresh token is lost":
		token.RefreshToken = ""
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
