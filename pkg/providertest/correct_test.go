package providertest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// documents is a correct provider that is built otherwise than the one with flaws: it posts queries, all to one address, asks for several things at once, and
// leaves its flow to golang.org/x/oauth2. The suite must find nothing.
type documents struct {
	contracts.TypedCredentials[documentsClient]
	contracts.TypedMetadata[place]
	contracts.MaxTime
	contracts.OAuth2Defaults
}

type documentsClient struct {
	ID           string `json:"client_id" validate:"required"`
	Secret       string `json:"client_secret" validate:"required"`
	AccessToken  string `json:"access_token,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// document is a record; its text is asked for apart.
type document struct {
	ID      string    `json:"id"`
	Text    string    `json:"text"`
	Updated time.Time `json:"updated"`
}

// documentsQuery asks for a page, for the text of one document, or for who is calling.
type documentsQuery struct {
	Since time.Time `json:"since"`
	After time.Time `json:"after"`
	Text  string    `json:"text"`
	Me    bool      `json:"me"`
}

type documentsPage struct {
	Documents []document `json:"documents"`
	HasMore   bool       `json:"has_more"`
}

func (documents) Name() string                           { return "Documents" }
func (documents) DefaultSyncInterval() time.Duration     { return time.Hour }
func (documents) DefaultRateLimit() *contracts.RateLimit { return nil }

func (d documents) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return d.SyncIncremental(ctx, in, session)
}

func (d documents) SyncIncremental(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	query := documentsQuery{}
	if cursor, ok := session.Cursor(); ok {
		var err error
		if query.Since, err = cursor.Time(); err != nil {
			return contracts.Permanent(err)
		}
	}
	for {
		var page documentsPage
		if err := d.query(ctx, in, query, &page); err != nil {
			return err
		}
		if err := d.dispatch(ctx, in, session, page.Documents); err != nil {
			return err
		}
		if !page.HasMore || len(page.Documents) == 0 {
			return nil
		}
		query.After = page.Documents[len(page.Documents)-1].Updated
	}
}

// dispatch asks for the texts of a page, and hands its documents over, side by side.
func (d documents) dispatch(ctx context.Context, in *contracts.Integration, session contracts.SyncSession, page []document) error {
	var group errgroup.Group
	for _, one := range page {
		group.Go(func() error {
			if err := d.query(ctx, in, documentsQuery{Text: one.ID}, &one.Text); err != nil {
				return err
			}
			return session.Dispatch(ctx, one, one.Updated, one.ID)
		})
	}
	return group.Wait()
}

func (documents) query(ctx context.Context, in *contracts.Integration, query documentsQuery, into any) error {
	to, err := contracts.MetadataOf[place](in)
	if err != nil {
		return contracts.Permanent(err)
	}
	raw, err := json.Marshal(query)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL+"/query", bytes.NewReader(raw))
	if err != nil {
		return err
	}
	res, err := in.HTTP().Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("query: %s", res.Status)
	}
	var answer struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Data == nil {
		return errors.New("query: the answer has no data")
	}
	return json.Unmarshal(answer.Data, into)
}

func (d documents) HealthCheck(ctx context.Context, in *contracts.Integration) error {
	_, err := d.ResolveIdentity(ctx, in)
	return err
}

func (d documents) ResolveIdentity(ctx context.Context, in *contracts.Integration) (id contracts.Identity, err error) {
	if err = d.query(ctx, in, documentsQuery{Me: true}, &id.ID); err == nil && id.ID == "" {
		err = errors.New("the answer names nobody")
	}
	return id, err
}

// flow is the library's, its client that of the integration.
func (documents) flow(ctx context.Context, in *contracts.Integration, redirect string) (context.Context, oauth2.Config, error) {
	client, err := contracts.CredentialsOf[documentsClient](in)
	config := oauth2.Config{ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: redirect, Endpoint: oauth2.Endpoint{
		AuthURL: accounts + "/authorize", TokenURL: accounts + "/token", AuthStyle: oauth2.AuthStyleInParams,
	}}
	return context.WithValue(ctx, oauth2.HTTPClient, in.HTTP()), config, err
}

func (d documents) AuthorizationURL(ctx context.Context, in *contracts.Integration, redirect, state string) (string, error) {
	_, config, err := d.flow(ctx, in, redirect)
	return config.AuthCodeURL(state), err
}

func (d documents) ExchangeCode(ctx context.Context, in *contracts.Integration, code, redirect string) (contracts.Token, error) {
	ctx, config, err := d.flow(ctx, in, redirect)
	if err != nil {
		return contracts.Token{}, err
	}
	return tokenOfLibrary(config.Exchange(ctx, code))
}

func (d documents) RefreshToken(ctx context.Context, in *contracts.Integration) (contracts.Token, error) {
	ctx, config, err := d.flow(ctx, in, "")
	stored, wrong := contracts.CredentialsOf[documentsClient](in)
	if err := cmp.Or(err, wrong); err != nil {
		return contracts.Token{}, err
	}
	if stored.RefreshToken == "" {
		return contracts.Token{}, contracts.Permanent(errors.New("there is no refresh token"))
	}
	return tokenOfLibrary(config.TokenSource(ctx, &oauth2.Token{RefreshToken: stored.RefreshToken}).Token())
}

// tokenOfLibrary leaves the answer out of errors, which the library quotes.
func tokenOfLibrary(token *oauth2.Token, err error) (contracts.Token, error) {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		err = fmt.Errorf("the upstream answers %s %s", refused.Response.Status, refused.ErrorCode)
		if refused.ErrorCode == "invalid_grant" {
			err = contracts.Permanent(err)
		}
	}
	if err != nil {
		return contracts.Token{}, err
	}
	granted := contracts.Token{AccessToken: token.AccessToken, RefreshToken: token.RefreshToken}
	if !token.Expiry.IsZero() {
		granted.ExpiresAt = &token.Expiry
	}
	return granted, nil
}

func (documents) RevokeToken(context.Context, *contracts.Integration) error { return nil }
