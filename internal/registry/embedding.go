package registry

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// descriptions are the methods that say something about another method, or that work only together with it. A provider
// must take both from the same type: embedding is no inheritance, so that the ready-made reducer of
// [contracts.MaxNumber] never calls a provider's own CheckpointKey, and its ReducesAssociatively says nothing about a
// provider's own ReduceCheckpoints.
func descriptions() []description {
	return []description{
		{"ReducesAssociatively", "ReduceCheckpoints"},
		{"CheckpointKey", "ReduceCheckpoints"},
		{"ReduceCheckpoints", "CheckpointKey"},
		{"CheckCheckpoint", "ReduceCheckpoints"},
		{"CursorAt", "ReduceCheckpoints"},
		{"CursorAdvances", "ReduceCheckpoints"},
		{"WebhookSecrets", "VerifyWebhookSignature"},
		{"WebhookSecrets", "WebhookChallenge"},
		{"VerifyWebhookSignature", "WebhookSecrets"},
		{"WebhookAccount", "IntegrationAccount"},
		{"IntegrationAccount", "WebhookAccount"},
		{"GrantsUnattended", "RefreshToken"},
		{"RequiresOAuth2Issuer", "OAuth2Issuer"},
	}
}

type description struct{ method, of string }

// embeddingProblems finds what a provider gets wrong by embedding. It compiles, and it has the methods, but they come
// from types that know nothing of one another, or don't count.
func embeddingProblems(p contracts.Provider) []error {
	t := reflect.TypeOf(p)
	problems := append(tornApart(t), unasked(p)...)
	walkEmbedded(reflect.ValueOf(p), nil, func(path []int, field reflect.Type, value reflect.Value) {
		if (value.Kind() == reflect.Pointer || value.Kind() == reflect.Interface) && value.IsNil() {
			problems = append(problems, throughNil(t, field, path)...)
		} else if value.Kind() == reflect.Interface {
			problems = append(problems, hidden(t, field, value.Elem().Type())...)
		}
	})
	return problems
}

// tornApart reports methods that come from an embedded type, which has another method that they describe, while the
// provider takes that other method from elsewhere.
func tornApart(t reflect.Type) []error {
	type cause struct {
		from, instead reflect.Type
		of            string
	}
	var causes []cause
	methods := map[cause][]string{}
	for _, d := range descriptions() {
		from, instead := declarer(t, d.method), declarer(t, d.of)
		if from == nil || instead == nil || from == elem(t) {
			continue
		}
		if meant := declarer(addressable(from), d.of); meant == nil || meant == instead {
			continue
		}
		c := cause{from, instead, d.of}
		if methods[c] == nil {
			causes = append(causes, c)
		}
		methods[c] = append(methods[c], d.method)
	}
	problems := make([]error, 0, len(causes))
	for _, c := range causes {
		problems = append(problems, fmt.Errorf("the %s of the embedded %s belongs to the %s there, but the provider "+
			"has the %[3]s of %[4]s: "+
			"declare %[1]s beside it, or don't embed %[2]s and call its methods from yours",
			strings.Join(methods[c], ", "), c.from, c.of, c.instead))
	}
	return problems
}

// unasked reports what a provider declares in vain, because an embedded type has the method by which it would be found.
func unasked(p contracts.Provider) (problems []error) {
	check := func(method string, of reflect.Type, f func() error) {
		if of != nil && of != declarer(reflect.TypeOf(p), method) {
			problems = append(problems, guarded(method, f))
		}
	}
	t := reflect.TypeOf(p)
	if handler, ok := p.(contracts.WebhookHandler); ok {
		from := declarer(t, "ResolveWebhookEvent")
		check("WebhookHandlers", from, func() error {
			if from == reflect.TypeFor[contracts.WebhookDefaults]() && len(handler.WebhookHandlers()) > 0 {
				return fmt.Errorf("its functions are never called: the embedded %s has ResolveWebhookEvent, which "+
					"finds no type; declare it, too", from)
			}
			return nil
		})
	}
	scheduled, syncs := p.(contracts.ScheduledSync)
	if _, limits := p.(contracts.RateLimiter); syncs && limits {
		from := declarer(t, "RateLimit")
		check("DefaultRateLimit", from, func() error {
			if from != elem(t) && scheduled.DefaultRateLimit() != nil {
				return fmt.Errorf("it is never asked: the embedded %s has RateLimit, which goes before; return nil, "+
					"or declare RateLimit", from)
			}
			return nil
		})
	}
	return slices.DeleteFunc(problems, func(err error) bool { return err == nil })
}

// hidden reports contracts of a value that is embedded as an interface: the provider has the methods of the interface,
// and no others.
func hidden(t, field, dynamic reflect.Type) []error {
	var names []string
	for _, c := range contractsOfProviders() {
		if dynamic.Implements(c.iface) && !t.Implements(c.iface) {
			names = append(names, c.iface.Name())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []error{fmt.Errorf("it embeds a %s as a %s, which hides its %s: embed the type %[1]s itself, or keep it "+
		"in a field with a name",
		dynamic, field, strings.Join(names, ", "))}
}

// throughNil reports methods of contracts that would panic, because they are those of an embedded nil.
func throughNil(t, field reflect.Type, path []int) []error {
	var names []string
	for _, c := range append(contractsOfProviders(), contract{iface: reflect.TypeFor[contracts.Provider]()}) {
		for m := range methodsOf(c.iface) {
			_, onValue := elem(field).MethodByName(m.Name)
			_, from := declarerAt(t, m.Name)
			if onValue && len(from) >= len(path) && slices.Equal(from[:len(path)], path) &&
				!slices.Contains(names, m.Name) {
				names = append(names, m.Name)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return []error{fmt.Errorf("it has %s from the embedded %s, which is nil: set it, or embed a value",
		strings.Join(names, ", "), field)}
}

// walkEmbedded visits the fields that a value embeds, at every depth, with their paths. What an interface holds is not
// entered: its fields promote nothing.
func walkEmbedded(v reflect.Value, path []int, visit func(path []int, field reflect.Type, value reflect.Value)) {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		if field := v.Type().Field(i); field.Anonymous {
			path := append(slices.Clone(path), i)
			visit(path, field.Type, v.Field(i))
			walkEmbedded(v.Field(i), path, visit)
		}
	}
}

// declarer returns the type that declares the method that t has under the name: t, or a type embedded in it at any
// depth, without pointers. It is nil when t has no such method.
func declarer(t reflect.Type, name string) reflect.Type {
	declaring, _ := declarerAt(t, name)
	return declaring
}

// declarerAt returns the path of the embedded type, too. Of two with the method, Go takes the one that is less deep.
func declarerAt(t reflect.Type, name string) (declaring reflect.Type, path []int) {
	method, ok := t.MethodByName(name)
	if !ok {
		return nil, nil
	}
	base := elem(t)
	if onValue, ok := base.MethodByName(name); ok {
		method = onValue
	}
	if base.Kind() != reflect.Struct || !isPromoted(method) {
		return base, nil
	}
	for i := range base.NumField() {
		field := base.Field(i)
		if !field.Anonymous {
			continue
		}
		if found, below := declarerAt(addressable(field.Type), name); found != nil &&
			(declaring == nil || len(below)+1 < len(path)) {
			declaring, path = found, append([]int{i}, below...)
		}
	}
	return declaring, path
}

// addressable is the type whose methods are all that a variable of type t has.
func addressable(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer {
		return t
	}
	return reflect.PointerTo(t)
}

// isPromoted reports whether a struct has the method by embedding. The reflect package does not tell; but the compiler
// writes such methods itself, and says so instead of naming a file.
func isPromoted(method reflect.Method) bool {
	frames := runtime.CallersFrames([]uintptr{method.Func.Pointer() + 1})
	for {
		// What was inlined comes before the method itself.
		frame, more := frames.Next()
		if !more {
			return frame.File == "<autogenerated>"
		}
	}
}
