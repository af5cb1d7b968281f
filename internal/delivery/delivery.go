// Package delivery turns a webhook into what is stored of it, and back into the very same request: what is secret in it is sealed, and what is left may be
// shown. The ingress packs, the item-worker unpacks.
package delivery

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// hidden stands for what is sealed.
const hidden = "***"

// Codec packs and unpacks with a key ring.
type Codec struct{ ring *secret.Ring }

// NewCodec returns a codec.
func NewCodec(ring *secret.Ring) *Codec { return &Codec{ring: ring} }

// Pack writes the request into a message that has its id.
func (c *Codec) Pack(into *eventsv1.WebhookReceived, req *contracts.WebhookRequest) error {
	into.Method, into.Path, into.Query, into.Body, into.ReceivedAt = req.Method, req.Path, req.Query, req.Body, timestamppb.New(req.ReceivedAt)
	secrets := &eventsv1.WebhookHidden{}
	if !isPlain(req.Query) || hasSensitiveParameter(req.Query) {
		secrets.Query, into.Query = []byte(req.Query), hidden
	}
	names := make([]string, 0, len(req.Header))
	for name := range req.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		header := &eventsv1.WebhookHeader{Name: name}
		plain := !foreign.SecretName(name)
		for _, value := range req.Header[name] {
			header.Values = append(header.Values, []byte(value))
			plain = plain && isPlain(value)
		}
		if !plain {
			secrets.Headers = append(secrets.Headers, header)
			header = &eventsv1.WebhookHeader{Name: name, Values: [][]byte{[]byte(hidden)}}
		}
		into.Headers = append(into.Headers, header)
	}
	if secrets.Query == nil && len(secrets.Headers) == 0 {
		return nil
	}
	plain, err := proto.Marshal(secrets)
	if err != nil {
		return fmt.Errorf("encode what is hidden of webhook %s: %w", into.GetId(), err)
	}
	id, err := uuid.Parse(into.GetId())
	if err != nil {
		return fmt.Errorf("seal webhook %q: %w", into.GetId(), err)
	}
	if into.KeyId, into.Sealed, err = c.ring.Seal(plain, secret.Place{Row: id[:]}); err != nil {
		return fmt.Errorf("seal webhook %s: %w", into.GetId(), err)
	}
	return nil
}

// Unpack is the request that was packed.
func (c *Codec) Unpack(from *eventsv1.WebhookReceived) (*contracts.WebhookRequest, error) {
	req := &contracts.WebhookRequest{
		Method: from.GetMethod(), Path: from.GetPath(), Query: from.GetQuery(), Body: bytes.Clone(from.GetBody()), ReceivedAt: from.GetReceivedAt().AsTime(), Header: http.Header{},
	}
	restore(req, from.GetHeaders())
	if len(from.GetSealed()) == 0 {
		return req, nil
	}
	id, err := uuid.Parse(from.GetId())
	if err != nil {
		return nil, fmt.Errorf("open webhook %q: %w", from.GetId(), err)
	}
	plain, err := c.ring.Open(from.GetKeyId(), from.GetSealed(), secret.Place{Row: id[:]})
	if err != nil {
		return nil, fmt.Errorf("open webhook %s: %w", from.GetId(), err)
	}
	secrets := &eventsv1.WebhookHidden{}
	if err := proto.Unmarshal(plain, secrets); err != nil {
		return nil, fmt.Errorf("read what is hidden of webhook %s: %w", from.GetId(), err)
	}
	if secrets.Query != nil {
		req.Query = string(secrets.GetQuery())
	}
	restore(req, secrets.GetHeaders())
	return req, nil
}

func restore(req *contracts.WebhookRequest, headers []*eventsv1.WebhookHeader) {
	for _, header := range headers {
		values := make([]string, 0, len(header.GetValues()))
		for _, value := range header.GetValues() {
			values = append(values, string(value))
		}
		req.Header[header.GetName()] = values
	}
}

func hasSensitiveParameter(query string) bool {
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if unescaped, err := url.QueryUnescape(name); err == nil {
			name = unescaped
		}
		if foreign.SecretName(name) {
			return true
		}
	}
	return false
}

// isPlain reports whether a text can be stored and shown as it is.
func isPlain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' })
}
