package app

import (
	"fmt"
	"net/url"
)

// OAuthConfig is where users authorize integrations.
type OAuthConfig struct {
	Addr       string `help:"Address for the OAuth routes for browsers; empty to serve none." env:"TRIBUTARY_OAUTH_ADDR" default:":8082" placeholder:"ADDR"`
	URL        string `help:"Public URL of the OAuth routes. Upstreams send users back to <URL>/integrations/oauth/callback." name:"url" env:"TRIBUTARY_OAUTH_URL" default:"http://127.0.0.1:8082" placeholder:"URL"`
	SuccessURL string `help:"URL that users are sent to after they have authorized; without it, a built-in page." name:"success-url" env:"TRIBUTARY_OAUTH_SUCCESS_URL" placeholder:"URL"`
	ErrorURL   string `help:"URL that users are sent to after a failed authorization; without it, a built-in page." name:"error-url" env:"TRIBUTARY_OAUTH_ERROR_URL" placeholder:"URL"`
}

func (c OAuthConfig) check() error {
	for _, address := range []struct{ name, value string }{
		{"url", c.URL},
		{"success-url", c.SuccessURL},
		{"error-url", c.ErrorURL},
	} {
		if address.value == "" && address.name != "url" {
			continue
		}
		u, err := url.Parse(address.value)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("--oauth-%s is not a URL such as https://app.example.com", address.name)
		}
	}
	return nil
}
