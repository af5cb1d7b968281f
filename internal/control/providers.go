package control

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

type providersAPI struct{ *Control }

func (c providersAPI) routes() []api.Route {
	// Each scheduler knows its own providers, so all of them answer.
	return []api.Route{{Endpoint: api.ProvidersList, Answer: api.Takes(c.list), Everybody: true}}
}

func (c providersAPI) list(context.Context, struct{}) (api.ProviderList, error) {
	list := api.ProviderList{Providers: []api.Provider{}}
	for _, key := range c.Registry.Keys() {
		p, err := c.Registry.Provider(key)
		if err != nil {
			return api.ProviderList{}, err
		}
		reply, err := describe(key, p)
		if err != nil {
			c.Log.Warn("a provider does not say what it is", "provider", key, "error", err)
			reply = api.Provider{Key: key, Name: key, Credentials: []api.Field{}, Metadata: []api.Field{}}
		}
		if _, ok := p.(contracts.ScheduledSync); ok {
			reply.Scheduled = true
			reply.DefaultInterval = c.Runs.Interval(&postgres.Integration{Provider: key}).String()
		}
		_, reply.Incremental = p.(contracts.IncrementalSync)
		_, reply.Webhooks = p.(contracts.WebhookHandler)
		list.Providers = append(list.Providers, reply)
	}
	return list, nil
}

// describe calls the provider's code, which may panic or not return.
func describe(key string, p contracts.Provider) (api.Provider, error) {
	return panics.Compute("the provider", func() (api.Provider, error) {
		return api.Provider{
			Key: key, Name: p.Name(),
			Credentials: fieldsOf(p.CredentialRules(), p.CredentialData()),
			Metadata:    fieldsOf(p.MetadataRules(), p.MetadataData()),
		}, nil
	})
}

// fieldsOf lists the fields that have a rule, and the fields of the typed data that have none.
func fieldsOf(rules contracts.Rules, data any) []api.Field {
	byName := map[string]api.Field{}
	if data != nil {
		for _, name := range jsonNames(reflect.TypeOf(data)) {
			byName[name] = api.Field{Name: name}
		}
	}
	for name, rule := range rules {
		byName[name] = api.Field{
			Name: name, Rule: rule, Required: slices.Contains(strings.Split(rule, ","), "required"),
		}
	}
	fields := make([]api.Field, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		fields = append(fields, byName[name])
	}
	return fields
}

// jsonNames are the names that a struct's own fields have in JSON.
func jsonNames(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || field.Anonymous || field.Tag.Get("json") == "-" || len(field.Index) > 1 &&
			name == "" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		names = append(names, name)
	}
	return names
}
