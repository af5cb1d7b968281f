package tokenrefresher

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// What a link is for; a signature for the one does not count for the other.
const (
	forAuthorize = "authorize"
	forRevoke    = "revoke"
)

const callbackPath = "/integrations/oauth/callback"

// link makes an address that only who was given it can use, and not for long.
func (r *Refresher) link(ctx context.Context, q api.ConnectIntegration) (api.ConnectLink, error) {
	row, err := r.lookup(ctx, q.Integration)
	if err != nil {
		return api.ConnectLink{}, err
	}
	flow, ok := r.flows[row.Provider]
	if !ok {
		return api.ConnectLink{}, noOAuth(row.Provider)
	}
	if _, unattended := flow.(contracts.UnattendedGranter); unattended && !q.Revoke {
		return api.ConnectLink{}, api.Invalidf("provider %q gets its tokens by itself; there is nobody to ask",
			row.Provider)
	}
	what := forAuthorize
	if q.Revoke {
		what = forRevoke
	}
	// Better here than before the eyes of a user.
	access := postgres.Access{Who: orService(foreign.Word(q.By)), Why: "make a link", At: r.Now()}
	if _, _, err := r.Store.Credentials(ctx, row.ID, access); errors.Is(err, secret.ErrUnknownKey) ||
		errors.Is(err, secret.ErrOpen) {
		return api.ConnectLink{}, &api.Error{Code: api.Refused, Message: fmt.Sprintf(
			"%v; put the key back, or replace the credentials, without tokens: tributary integrations update %s "+
				"--credentials-file FILE", err, row.Name,
		)}
	} else if err != nil {
		return api.ConnectLink{}, err
	}
	expires := r.Now().Add(r.Settings.LinkLife).Truncate(time.Second)
	query := url.Values{"expires": {strconv.FormatInt(expires.Unix(), 10)}, "by": {q.By}, "nonce": {random()}}
	query.Set("signature", base64.RawURLEncoding.EncodeToString(r.Store.SignLink(linkText(what, row.ID, query))))
	return api.ConnectLink{URL: strings.TrimSuffix(r.Settings.PublicURL, "/") + "/integrations/" + row.ID.String() +
		"/oauth/" + what + "?" + query.Encode(), ExpiresAt: expires}, nil
}

func linkText(what string, id uuid.UUID, query url.Values) string {
	parts := []string{what, id.String(), query.Get("expires"), query.Get("by")}
	if nonce := query.Get("nonce"); nonce != "" {
		parts = append(parts, nonce)
	}
	return strings.Join(parts, "\n")
}

// admits returns the signature of a link and when it expires, if the link was made here, for this and for this
// integration, and is still good.
func (r *Refresher) admits(what string, id uuid.UUID, query url.Values) (signature []byte, until time.Time, ok bool) {
	signature, err := base64.RawURLEncoding.DecodeString(query.Get("signature"))
	expires, notANumber := strconv.ParseInt(query.Get("expires"), 10, 64)
	until = time.Unix(expires, 0)
	return signature, until, err == nil && notANumber == nil &&
		r.Store.VerifyLink(linkText(what, id, query), signature) && r.Now().Before(until)
}

// departure is where a browser is sent to authorize, and what it must bring back.
type departure struct {
	url, cookie, value string
}

// depart begins an authorization.
func (r *Refresher) depart(ctx context.Context, id uuid.UUID, by string, link []byte) (departure, error) {
	a, err := r.open(ctx, id, postgres.Access{
		Who: orService(foreign.Word(by)), Why: "begin an authorization",
		At: r.Now(),
	})
	if err != nil {
		return departure{}, err
	}
	state, browser, verifier := random(), random(), random()
	ctx = contracts.WithPKCEVerifier(ctx, verifier)
	address, err := ask(ctx, r, a.row.Provider, "AuthorizationURL", func(ctx context.Context) (string, error) {
		return a.flow.AuthorizationURL(ctx, a.in, r.callback(), state)
	})
	if err != nil {
		return departure{}, fmt.Errorf("make the address to authorize at: %w", a.redacted(err))
	}
	// package url takes control characters in a fragment, and a browser does not.
	if u, err := url.Parse(address); err != nil || strings.ContainsFunc(address, unicode.IsControl) ||
		u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return departure{}, errors.New("the provider's address to authorize at is none of the web")
	}
	now := r.Now()
	err = r.Store.PutState(ctx, state, browser, postgres.State{
		Integration: id, Provider: a.row.Provider,
		Verifier: verifier, By: foreign.Word(by), Link: link,
	}, now, now.Add(r.Settings.StateLife))
	if err != nil {
		return departure{}, err
	}
	return departure{url: address, cookie: r.cookieOf(state), value: browser}, nil
}

func (r *Refresher) callback() string {
	return strings.TrimSuffix(r.Settings.PublicURL, "/") + callbackPath
}

// cookieOf is a cookie for each flow, so that one can begin while another is under way. With TLS its name keeps other
// hosts of the domain from setting it.
func (r *Refresher) cookieOf(state string) string {
	sum := sha256.Sum256([]byte(state))
	name := "tributary-oauth-" + hex.EncodeToString(sum[:8])
	if r.secure() {
		name = "__Host-" + name
	}
	return name
}

func (r *Refresher) secure() bool { return strings.HasPrefix(r.Settings.PublicURL, "https://") }

// random is 256 bits, as text that can stand anywhere.
func random() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// arrival is what a browser brings back.
type arrival struct {
	code, issuer     string
	failure, details string
}

// arrive ends an authorization: the code is exchanged, once, and the tokens are stored over the credentials. An error
// is told of in an event, too. ends is when the user has to authorize again because the token can't be refreshed; nil
// for never.
func (r *Refresher) arrive(ctx context.Context, state postgres.State, from arrival) (ends *time.Time, err error) {
	access := postgres.Access{Who: orService(state.By), Why: "connect the integration", At: r.Now()}
	a, err := r.open(ctx, state.Integration, access)
	if err != nil {
		return nil, err
	}
	token, err := r.exchange(ctx, a, state, from)
	r.Crash("token-refresher: code exchanged")
	var account *contracts.Identity
	if err == nil {
		account, err = r.identify(ctx, a, token)
	}
	if err == nil {
		err = r.insist(ctx, func() error { return r.connect(ctx, a, token, account, access, state.Link) })
	}
	if err == nil {
		r.Log.Info("integration connected", "integration", a.row.Name, "provider", a.row.Provider, "by", access.Who)
		if token.RefreshToken == "" && token.ExpiresAt != nil {
			r.Log.Warn("the upstream gave no refresh token: the user has to authorize again when the access token ends",
				"integration", a.row.Name, "provider", a.row.Provider, "ends", *token.ExpiresAt)
			ends = token.ExpiresAt
		}
		return ends, nil
	}
	r.Log.Warn("authorization failed", "integration", a.row.Name, "provider", a.row.Provider, "error", err)
	failed := &eventsv1.OAuthConnectFailed{
		Integration: announce.Ref(a.row), Error: "failed",
		Description: foreign.Of(err).String(), By: access.Who.String(),
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		failed.Error, failed.Description = foreign.Word(refused.code).String(), foreign.Line(refused.text).String()
	}
	told := r.Store.InTx(ctx, func(tx *postgres.Tx) error {
		return announce.Publish(ctx, tx, r.Now(), events.OAuthConnectFailed, a.row, failed)
	})
	return nil, errors.Join(err, told)
}

// refusal is why an authorization came to nothing, for the user who waits.
type refusal struct{ code, text string }

func (e *refusal) Error() string { return e.code + ": " + e.text }

func (r *Refresher) exchange(ctx context.Context, a *account, state postgres.State, from arrival) (contracts.Token,
	error,
) {
	if err := r.rightIssuer(ctx, a, from.issuer); err != nil {
		return contracts.Token{}, err
	}
	switch {
	case from.failure != "":
		return contracts.Token{}, &refusal{from.failure, from.details}
	case from.code == "":
		return contracts.Token{}, &refusal{"no_code", "the answer has no code"}
	}
	ctx = contracts.WithPKCEVerifier(ctx, state.Verifier)
	token, err := ask(ctx, r, a.row.Provider, "ExchangeCode", func(ctx context.Context) (contracts.Token, error) {
		return a.flow.ExchangeCode(ctx, a.in, from.code, r.callback())
	})
	token = r.onOurClock(token)
	if err == nil {
		err = sendable(token)
	}
	if err != nil {
		return contracts.Token{}, &refusal{"exchange_failed", a.redacted(err).Error()}
	}
	return token, nil
}

// rightIssuer refuses an answer of another authorization server than the one that was asked (RFC 9207).
func (r *Refresher) rightIssuer(ctx context.Context, a *account, issuer string) error {
	named, ok := a.flow.(contracts.OAuth2Issuer)
	if !ok {
		return nil
	}
	want, err := ask(ctx, r, a.row.Provider, "OAuth2Issuer", func(context.Context) (string, error) {
		return named.OAuth2Issuer(a.in)
	})
	if err != nil {
		return &refusal{"issuer_unknown", a.redacted(err).Error()}
	}
	needed := false
	if requirer, ok := a.flow.(contracts.OAuth2IssuerRequirer); ok {
		needed, err = ask(ctx, r, a.row.Provider, "RequiresOAuth2Issuer", func(context.Context) (bool, error) {
			return requirer.RequiresOAuth2Issuer(a.in)
		})
		if err != nil {
			return &refusal{"issuer_unknown", a.redacted(err).Error()}
		}
	}
	switch {
	case issuer == "" && needed:
		return &refusal{"no_issuer", "the answer does not name the authorization server that it is from (iss), " +
			"though that one always does"}
	case issuer != "" && want != "" && issuer != want:
		return &refusal{"wrong_issuer", "the answer is from another authorization server than the one that was asked"}
	}
	return nil
}

// connect stores what a user has granted. Whatever is under way with an older grant is fenced off.
func (r *Refresher) connect(
	ctx context.Context, a *account, token contracts.Token, account *contracts.Identity, access postgres.Access,
	link []byte,
) error {
	for {
		credentials, err := merged(a.credentials, token)
		if err != nil {
			return err
		}
		if err := r.Validator.Credentials(a.flow.(contracts.Provider), credentials); err != nil {
			return &refusal{"invalid_credentials", "what was granted does not fit the provider's rules for credentials"}
		}
		id, whole, err := tokenIDOf(credentials)
		if err != nil {
			return err
		}
		var version int64
		err = r.Store.InTx(ctx, func(tx *postgres.Tx) error {
			row, err := tx.IntegrationLock(ctx, a.row.ID)
			if err != nil {
				return fmt.Errorf("lock integration %s: %w", a.row.ID, err)
			}
			version, err = r.Store.PutCredentials(ctx, tx, row.ID, credentials, a.version, access)
			if err != nil {
				return err
			}
			_, err = tx.GrantConnect(ctx, dbsqlc.GrantConnectParams{
				IntegrationID: row.ID, Provider: row.Provider, TokenID: id, CredentialsVersion: version,
				ExpiresAt:   whole.ExpiresAt,
				Refreshable: whole.RefreshToken != "", DueAt: r.dueAt(a.row.Provider, whole.ExpiresAt,
					whole.RefreshToken != ""), Now: access.At,
			})
			if err != nil {
				return fmt.Errorf("note the grant: %w", err)
			}
			if _, err := tx.IntegrationTouch(ctx, access.At, row.ID); err != nil {
				return fmt.Errorf("raise the version of %s: %w", row.ID, err)
			}
			if err := letGo(ctx, tx, row, access); err != nil {
				return err
			}
			if err := tx.LinkDone(ctx, link); err != nil {
				return fmt.Errorf("end the link: %w", err)
			}
			if err := health.Clear(ctx, tx, row, health.SourceToken, "its user has authorized", access.At); err != nil {
				return err
			}
			told := &eventsv1.OAuthConnected{
				Integration: announce.Ref(row), By: access.Who.String(), ExpiresAt: stampOf(whole.ExpiresAt),
				Refreshable: whole.RefreshToken != "",
			}
			if account != nil {
				told.Account = foreign.Word(account.ID).String()
				if err := health.KeepIdentity(ctx, tx.Queries, row.ID, account, version); err != nil {
					return err
				}
			}
			return announce.Publish(ctx, tx, access.At, events.OAuthConnected, row, told)
		})
		if err == nil {
			r.cast(ctx, a.row.ID, whole, version)
		}
		if !errors.Is(err, postgres.ErrCredentialsChanged) {
			return err
		}
		if a, err = r.open(ctx, a.row.ID, access); err != nil {
			return err
		}
	}
}

func orService(by foreign.Text) foreign.Text {
	if by == "" {
		return serviceName
	}
	return by
}
