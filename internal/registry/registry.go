// Package registry holds the providers of a program by key, and refuses those that would fail late or not at all. Every
// service finds its providers there.
package registry

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/spelling"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// ErrUnknownProvider is wrapped by the error of [Registry.Provider].
var ErrUnknownProvider = errors.New("unknown provider")

// keyPattern keeps keys usable as one token of a NATS subject.
const keyPattern = `^[a-z0-9][a-z0-9-]{0,62}$`

// Registry holds the providers that are compiled into a binary, by key. It never changes and is safe for concurrent
// use.
type Registry struct {
	providers map[string]contracts.Provider
}

// New checks the providers and returns them as a registry. A provider is kept as it is given, never wrapped, so
// that its contracts are found by type assertion on what [Registry.Provider] returns.
//
// It refuses what would otherwise fail late or not at all, every problem at once (see [errors.Join]):
//   - a key that is not 1 to 63 lower-case letters, digits and inner or trailing hyphens
//   - a nil provider; CredentialData or MetadataData that is a typed nil, not a pointer, or the same pointer twice
//   - a method of these that panics, or does not return within 10 seconds
//   - a DefaultSyncInterval that is not whole minutes, less than one, or more than [contracts.MaxSyncInterval], a rate limit that is not valid, a negative RefreshThreshold
//   - a method named like one of a contract but with another signature, or on the pointer when the value is registered
//   - some methods of a contract without the others
//   - a method whose name is a misspelling of a contract's method
//   - a method that describes another one, such as ReducesAssociatively, from an embedded type, when the provider has that other one from elsewhere
//   - an embedded interface that hides contracts of the value in it, and methods that are those of an embedded nil
func New(providers map[string]contracts.Provider) (*Registry, error) {
	var problems []error
	valid := regexp.MustCompile(keyPattern)
	for _, key := range slices.Sorted(maps.Keys(providers)) {
		if !valid.MatchString(key) {
			problems = append(problems, fmt.Errorf("provider key %q must match %s", key, keyPattern))
		}
		for _, problem := range problemsOf(providers[key]) {
			problems = append(problems, fmt.Errorf("provider %q: %w", key, problem))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return &Registry{providers: maps.Clone(providers)}, nil
}

// Provider returns the provider of a key. The error wraps [ErrUnknownProvider], suggests the nearest key and lists all.
func (r *Registry) Provider(key string) (contracts.Provider, error) {
	if p, ok := r.providers[key]; ok {
		return p, nil
	}
	keys := r.Keys()
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w %q: this binary has no providers", ErrUnknownProvider, key)
	}
	suggestion := ""
	if near, ok := spelling.Nearest(key, keys); ok {
		suggestion = fmt.Sprintf(" did you mean %q?", near)
	}
	return nil, fmt.Errorf("%w %q:%s this binary has %s", ErrUnknownProvider, key, suggestion, strings.Join(keys, ", "))
}

// Keys returns the keys of all providers, sorted.
func (r *Registry) Keys() []string { return slices.Sorted(maps.Keys(r.providers)) }

// Has reports whether a provider of that key is compiled in.
func (r *Registry) Has(key string) bool {
	_, ok := r.providers[key]
	return ok
}

// problemsOf says what is wrong with one provider.
func problemsOf(p contracts.Provider) []error {
	if isNil(p) {
		return []error{errors.New("it is nil")}
	}
	problems := append(shapeProblems(reflect.TypeOf(p)), embeddingProblems(p)...)
	check := func(method string, f func() error) {
		if err := guarded(method, f); err != nil {
			problems = append(problems, err)
		}
	}
	check("CredentialData", func() error { return checkData(p.CredentialData) })
	check("MetadataData", func() error { return checkData(p.MetadataData) })
	if s, ok := p.(contracts.ScheduledSync); ok {
		check("DefaultSyncInterval", func() error { return checkInterval(s.DefaultSyncInterval()) })
		check("DefaultRateLimit", func() error { return s.DefaultRateLimit().Validate() })
	}
	if l, ok := p.(contracts.RateLimiter); ok {
		check("RateLimit", func() error { return l.RateLimit().Validate() })
	}
	if o, ok := p.(contracts.OAuth2); ok {
		check("RefreshThreshold", func() error {
			if d := o.RefreshThreshold(); d < 0 {
				return fmt.Errorf("it returns %s: it must not be negative", d)
			}
			return nil
		})
	}
	return problems
}

// guarded turns a panic of a provider's method, and one that does not return, into a problem like any other.
func guarded(method string, f func() error) error {
	_, err := panics.Compute(method, func() (none struct{}, err error) {
		if err = f(); err != nil {
			err = fmt.Errorf("%s: %w", method, err)
		}
		return none, err
	})
	return err
}

// elem is a type without pointers.
func elem(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func checkData(data func() any) error {
	first := data()
	if first == nil {
		return nil
	}
	v := reflect.ValueOf(first)
	switch {
	case v.Kind() != reflect.Pointer:
		return fmt.Errorf("it returns a %T: it must be a pointer, new(%T), or an untyped nil for a plain map", first,
			first)
	case v.IsNil():
		return fmt.Errorf("it returns a nil %T: return new(%s), or an untyped nil for a plain map",
			first, v.Type().Elem())
	}
	// Pointers to values without size may be equal though they are fresh.
	second := reflect.ValueOf(data())
	if v.Type().Elem().Size() > 0 && second.Kind() == reflect.Pointer && second.Pointer() == v.Pointer() {
		return fmt.Errorf("it returns the same pointer twice: two integrations would share it; return new(%s)",
			v.Type().Elem())
	}
	return nil
}

func checkInterval(d time.Duration) error {
	if d < time.Minute || d%time.Minute != 0 {
		return fmt.Errorf("it returns %s: it must be whole minutes, at least 1m0s", d)
	}
	if d > contracts.MaxSyncInterval {
		return fmt.Errorf("it returns %s: it must be at most %s", d, contracts.MaxSyncInterval)
	}
	return nil
}

func isNil(p contracts.Provider) bool {
	if p == nil {
		return true
	}
	v := reflect.ValueOf(p)
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice:
		return v.IsNil()
	default:
		return false
	}
}
