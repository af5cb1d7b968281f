package contracts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
)

// Integration is one configured connection of a provider, as the provider and its handlers see it. It is read-only and
// safe for concurrent use.
type Integration struct {
	fields IntegrationFields
}

// IntegrationFields is what an [Integration] is made of. The runtime fills it; tests of providers do too.
type IntegrationFields struct {
	// ID is the integration's UUID.
	ID string
	// Provider is the key under which the provider is registered.
	Provider string
	// Name is unique over all integrations.
	Name string
	// Owner is the product's own id of whom the connection belongs to; it may be empty.
	Owner string
	// Credentials and Metadata are JSON objects; nil counts as an empty one.
	Credentials json.RawMessage
	Metadata    json.RawMessage
	// Client is the platform's HTTP client; nil means [http.DefaultClient].
	Client *http.Client
	// Mappings are the integration's; nil means none, and that their methods fail.
	Mappings Mappings
	// Log has the integration's attributes; nil means [slog.Default].
	Log *slog.Logger
}

// NewIntegration makes an integration of its fields.
func NewIntegration(fields IntegrationFields) *Integration { return &Integration{fields: fields} }

// ID is the integration's UUID.
func (in *Integration) ID() string { return in.fields.ID }

// Provider is the key of the integration's provider.
func (in *Integration) Provider() string { return in.fields.Provider }

// Name is the integration's unique name.
func (in *Integration) Name() string { return in.fields.Name }

// Owner is the product's own id of whom the connection belongs to; it may be empty.
func (in *Integration) Owner() string { return in.fields.Owner }

// String names the integration; it never prints its credentials.
func (in *Integration) String() string { return in.fields.Provider + "/" + in.fields.Name }

// Format prints what String does for every verb, so that no way of printing shows the credentials.
func (in *Integration) Format(f fmt.State, _ rune) {
	// A fmt.State reports its errors where the printing was asked for.
	_, _ = io.WriteString(f, in.String())
}

// LogValue is what slog writes of an integration: its id, provider and name.
func (in *Integration) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", in.fields.ID), slog.String("provider", in.fields.Provider),
		slog.String("name", in.fields.Name))
}

// Mappings tell which records of your application the upstream's are.
func (in *Integration) Mappings() Mappings {
	if in.fields.Mappings == nil {
		return noMappings{}
	}
	return in.fields.Mappings
}

// HTTP is the client for every request to the upstream: authenticated, traced and guarded. Give it to any vendor SDK
// that takes an *http.Client.
func (in *Integration) HTTP() *http.Client {
	if in.fields.Client == nil {
		return http.DefaultClient
	}
	return in.fields.Client
}

// Log is a logger that carries the integration's attributes.
func (in *Integration) Log() *slog.Logger {
	if in.fields.Log == nil {
		return slog.Default()
	}
	return in.fields.Log
}

// Credentials returns the credentials as a map, numbers as [json.Number].
func (in *Integration) Credentials() (map[string]any, error) {
	return decodeMap("credentials", in.fields.Credentials)
}

// Metadata returns the metadata as a map, numbers as [json.Number].
func (in *Integration) Metadata() (map[string]any, error) {
	return decodeMap("metadata", in.fields.Metadata)
}

// CredentialsOf decodes the integration's credentials into T, usually the type that the provider's CredentialData
// points to.
func CredentialsOf[T any](in *Integration) (T, error) {
	return decodeAs[T](in, "credentials", in.fields.Credentials)
}

// MetadataOf decodes the integration's metadata into T, usually the type that the provider's MetadataData points to.
func MetadataOf[T any](in *Integration) (T, error) {
	return decodeAs[T](in, "metadata", in.fields.Metadata)
}

func decodeAs[T any](in *Integration, what string, raw json.RawMessage) (T, error) {
	var value T
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		// The cause may quote the input, which may be a secret: only the type is told.
		return value, fmt.Errorf("%s of integration %q do not fit %T", what, in.Name(), value)
	}
	return value, nil
}

func decodeMap(what string, raw json.RawMessage) (map[string]any, error) {
	values := map[string]any{}
	if len(raw) == 0 {
		return values, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&values); err != nil {
		return nil, fmt.Errorf("%s are not a JSON object", what)
	}
	if values == nil { // the JSON null
		values = map[string]any{}
	}
	return values, nil
}
