module github.com/tributaryhq/tributary/pkg/webhooks/vendortest

go 1.26.0

require (
	github.com/google/go-github/v84 v84.0.0
	github.com/slack-go/slack v0.35.0
	github.com/standard-webhooks/standard-webhooks/libraries v0.0.1
	github.com/stripe/stripe-go/v84 v84.4.1
	github.com/svix/svix-webhooks v1.44.0
	github.com/tributaryhq/tributary v0.0.0
)

require (
	github.com/google/go-querystring v1.2.0 // indirect
	github.com/gorilla/websocket v1.5.3 // indirect
	gopkg.in/validator.v2 v2.0.1 // indirect
)

replace github.com/tributaryhq/tributary => ../../..
