package oauth2_test

import (
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/oauth2"
	"github.com/tributaryhq/tributary/pkg/providertest"
)

type client struct {
	ID     string `json:"client_id" validate:"required"`
	Secret string `json:"client_secret" validate:"required"`
}

// mail is a provider with the flow of users, service one without users.
type mail struct {
	contracts.NoMetadata
	contracts.TypedCredentials[client]
	oauth2.AuthorizationCode
}

func (mail) Name() string { return "Mail" }

type service struct {
	contracts.NoMetadata
	contracts.TypedCredentials[client]
	oauth2.ClientCredentials
}

func (service) Name() string { return "Service" }

// TestSuite has the flows pass the suite that providers pass.
func TestSuite(t *testing.T) {
	t.Parallel()
	endpoints := oauth2.Endpoints{AuthURL: "https://accounts.example/authorize", TokenURL: "https://accounts.example/token"}
	for name, provider := range map[string]contracts.Provider{
		"mail":    mail{AuthorizationCode: oauth2.AuthorizationCode{Endpoints: endpoints, Hosts: []string{"api.example"}}},
		"service": service{ClientCredentials: oauth2.ClientCredentials{Endpoints: endpoints, Hosts: []string{"api.example"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, providertest.Suite{Provider: provider, Key: name, Credentials: client{"the-id-of-the-client", "the-secret-of-the-client"}})
		})
	}
}
