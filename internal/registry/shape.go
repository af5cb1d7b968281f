package registry

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/tributaryhq/tributary/internal/spelling"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// contract is an interface of package contracts, as it is compared with a provider's methods.
type contract struct {
	iface reflect.Type
	// extends is the contract that iface embeds, or nil. A provider is held to this one only by the methods that it
	// adds.
	extends reflect.Type
	// needs is a contract without which this one is never asked, or nil.
	needs reflect.Type
}

func contractsOfProviders() []contract {
	sync, webhooks := reflect.TypeFor[contracts.ScheduledSync](), reflect.TypeFor[contracts.WebhookHandler]()
	oauth2, idempotency := reflect.TypeFor[contracts.OAuth2](), reflect.TypeFor[contracts.IdempotencySupporter]()
	return []contract{
		{iface: reflect.TypeFor[contracts.IncrementalSync](), extends: sync},
		{iface: sync},
		{iface: reflect.TypeFor[contracts.CursorAdvancer](), needs: sync},
		{iface: reflect.TypeFor[contracts.CursorDater](), needs: sync},
		{iface: reflect.TypeFor[contracts.AssociativeReducer](), needs: sync},
		{iface: reflect.TypeFor[contracts.CheckpointOrderer](), needs: sync},
		{iface: reflect.TypeFor[contracts.CheckpointChecker](), needs: sync},
		{iface: webhooks},
		{iface: reflect.TypeFor[contracts.WebhookChallenger](), needs: webhooks},
		{iface: reflect.TypeFor[contracts.WebhookOrderer](), needs: webhooks},
		{iface: reflect.TypeFor[contracts.WebhookSharer](), needs: webhooks},
		{iface: oauth2},
		{iface: reflect.TypeFor[contracts.OAuth2Issuer](), needs: oauth2},
		{iface: reflect.TypeFor[contracts.OAuth2IssuerRequirer](), needs: reflect.TypeFor[contracts.OAuth2Issuer]()},
		{iface: reflect.TypeFor[contracts.OAuth2HostNamer](), needs: oauth2},
		{iface: reflect.TypeFor[contracts.UnattendedGranter](), needs: oauth2},
		{iface: reflect.TypeFor[contracts.Authenticator]()},
		{iface: reflect.TypeFor[contracts.HostNamer]()},
		{iface: reflect.TypeFor[contracts.HealthChecker]()},
		{iface: reflect.TypeFor[contracts.Redactor]()},
		{iface: reflect.TypeFor[contracts.IdempotencyHeaderNamer](), extends: idempotency},
		{iface: idempotency},
		{iface: reflect.TypeFor[contracts.RetryCustomizer]()},
		{iface: reflect.TypeFor[contracts.FailureClassifier]()},
		{iface: reflect.TypeFor[contracts.IdentityResolver]()},
		{iface: reflect.TypeFor[contracts.RateLimiter]()},
		{iface: reflect.TypeFor[contracts.BudgetKeyer]()},
		{iface: reflect.TypeFor[contracts.RateReporter]()},
		{iface: reflect.TypeFor[contracts.ResponseLogLimiter]()},
	}
}

// shapeProblems finds what a type assertion would pass over in silence: methods that were meant for a contract and
// don't count.
func shapeProblems(t reflect.Type) []error {
	s := shape{
		value:   t,
		methods: signatures(t),
		pointer: map[string]reflect.Type{},
		wanted:  map[string]wanted{},
	}
	if t.Kind() != reflect.Pointer {
		s.pointer = signatures(reflect.PointerTo(t))
	}
	for _, c := range contractsOfProviders() {
		for m := range methodsOf(c.iface) {
			// The contract that is extended comes after the one that extends it, and owns what they share.
			s.wanted[m.Name] = wanted{contract: c.iface.Name(), signature: m.Type}
		}
	}
	problems := append(s.wrongSignatures(), s.incomplete()...)
	return append(problems, s.misspellings()...)
}

type wanted struct {
	contract  string
	signature reflect.Type
}

type shape struct {
	value reflect.Type
	// methods are those of the registered value, pointer those of a pointer to it.
	methods, pointer map[string]reflect.Type
	wanted           map[string]wanted
}

func (s shape) wrongSignatures() []error {
	var problems []error
	for _, name := range sortedKeys(s.wanted) {
		want := s.wanted[name]
		found, ok := s.methods[name]
		onPointer := s.pointer[name]
		switch {
		case ok && found != want.signature:
			problems = append(problems, fmt.Errorf("method %s of %s has the wrong signature: found %s, want %s; if "+
				"it means something else, rename it, "+
				"or don't embed the type it comes from", name, want.contract, signature(name, found),
				signature(name, want.signature)))
		case !ok && onPointer == want.signature:
			problems = append(problems, fmt.Errorf("method %s of %s has a pointer receiver, but the provider is "+
				"registered as the value %s: "+
				"register a pointer, or give the method a value receiver: %s", name, want.contract, s.value,
				signature(name, want.signature)))
		case !ok && onPointer != nil:
			problems = append(problems, fmt.Errorf("method %s of %s has a pointer receiver and the wrong signature: "+
				"found %s, want %s; "+
				"if it means something else, rename it", name, want.contract, signature(name, onPointer),
				signature(name, want.signature)))
		}
	}
	return problems
}

// incomplete reports contracts of which the provider has some methods but not all.
func (s shape) incomplete() []error {
	var problems []error
	reported := map[reflect.Type]bool{}
	for _, c := range contractsOfProviders() {
		if reported[c.iface] {
			continue
		}
		present, missing := s.split(c)
		if len(present) == 0 {
			continue
		}
		if len(missing) > 0 {
			reported[c.extends] = true
			problems = append(problems, fmt.Errorf("it has %s of %s but not %s%s", strings.Join(present, ", "),
				c.iface.Name(), strings.Join(missing, "; "), hint(present)))
		}
		if c.needs != nil && !s.touches(c.needs) {
			problems = append(problems, fmt.Errorf("it has %s of %s, which counts only beside %s",
				strings.Join(present, ", "), c.iface.Name(), c.needs.Name()))
		}
	}
	return problems
}

// split returns the names of c's methods that the provider has and the signatures of those that it lacks. Methods that
// are there in a wrong form are in neither: they are reported already.
func (s shape) split(c contract) (present, missing []string) {
	own := false
	for m := range methodsOf(c.iface) {
		switch {
		case s.methods[m.Name] == m.Type:
			present = append(present, m.Name)
		case s.methods[m.Name] == nil && s.pointer[m.Name] == nil:
			missing = append(missing, signature(m.Name, m.Type))
			continue
		}
		own = own || c.extends == nil || s.wanted[m.Name].contract == c.iface.Name()
	}
	if !own {
		return nil, nil
	}
	return present, missing
}

// touches reports whether the provider has any method named like one of the contract.
func (s shape) touches(iface reflect.Type) bool {
	for m := range methodsOf(iface) {
		if s.methods[m.Name] != nil || s.pointer[m.Name] != nil {
			return true
		}
	}
	return false
}

func (s shape) misspellings() []error {
	var problems []error
	all := s.methods
	if len(s.pointer) > 0 {
		all = s.pointer
	}
	for _, found := range sortedKeys(all) {
		if _, ok := s.wanted[found]; ok {
			continue
		}
		for _, name := range sortedKeys(s.wanted) {
			if all[name] == nil && isMisspelled(found, name) {
				want := s.wanted[name]
				problems = append(problems, fmt.Errorf("method %s looks like a misspelling of %s's %s: found %s, "+
					"want %s; if it means something else, rename it",
					found, want.contract, name, signature(found, all[found]), signature(name, want.signature)))
			}
		}
	}
	return problems
}

// hint tells who declared nothing but a budget where it belongs.
func hint(present []string) string {
	if len(present) == 1 && present[0] == "DefaultRateLimit" {
		return "; a request budget without a sync is RateLimiter's RateLimit() *contracts.RateLimit"
	}
	return ""
}

// isMisspelled reports whether found was probably meant to be name: the same but for case, or, for names so long that
// it is hardly chance, at most two letters off.
func isMisspelled(found, name string) bool {
	const long = 9
	return strings.EqualFold(found, name) || len(name) >= long && spelling.Distance(found, name) <= 2
}

// signatures are the methods of t by name, as functions without receiver.
func signatures(t reflect.Type) map[string]reflect.Type {
	all := make(map[string]reflect.Type, t.NumMethod())
	for m := range t.Methods() {
		all[m.Name] = withoutReceiver(m.Type)
	}
	return all
}

func withoutReceiver(f reflect.Type) reflect.Type {
	in := make([]reflect.Type, 0, f.NumIn())
	for i := 1; i < f.NumIn(); i++ {
		in = append(in, f.In(i))
	}
	out := make([]reflect.Type, 0, f.NumOut())
	for result := range f.Outs() {
		out = append(out, result)
	}
	return reflect.FuncOf(in, out, f.IsVariadic())
}

func methodsOf(iface reflect.Type) func(yield func(reflect.Method) bool) {
	return func(yield func(reflect.Method) bool) {
		for method := range iface.Methods() {
			if !yield(method) {
				return
			}
		}
	}
}

// signature writes a method as Go does, without the names of its parameters.
func signature(name string, f reflect.Type) string {
	return name + strings.TrimPrefix(f.String(), "func")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
