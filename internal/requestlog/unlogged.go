package requestlog

import (
	pathpkg "path"
	"slices"
	"strings"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// endpoint is a pattern of [contracts.ResponseLogLimiter].
type endpoint struct {
	method, pattern string
	// every stands for all, of a provider that does not tell which.
	every bool
}

// Unlogged are the endpoints of whose answers only the size is logged.
type Unlogged []endpoint

// UnloggedOf asks a provider for them. One that does not answer has no answer logged.
func UnloggedOf(provider contracts.Provider) Unlogged {
	limiter, ok := provider.(contracts.ResponseLogLimiter)
	if !ok {
		return nil
	}
	texts, err := panics.Compute("the list of unlogged endpoints", func() ([]string, error) {
		return limiter.UnloggedResponseEndpoints(), nil
	})
	if err != nil {
		return Unlogged{{every: true}}
	}
	var all Unlogged
	for _, text := range texts {
		e := endpoint{pattern: text}
		if method, pattern, found := strings.Cut(text, ":"); found && !strings.Contains(method, "/") {
			e = endpoint{method: strings.ToUpper(method), pattern: pattern}
		}
		// Of the characters that have a meaning to path.Match only * is one of a pattern's.
		e.pattern = strings.NewReplacer(`\`, `\\`, "?", `\?`, "[", `\[`).Replace(e.pattern)
		all = append(all, e)
	}
	return all
}

// Match reports whether a request is for one of the endpoints.
func (u Unlogged) Match(method, requested string) bool {
	return slices.ContainsFunc(u, func(e endpoint) bool { return e.matches(method, requested) })
}

func (e endpoint) matches(method, requested string) bool {
	if e.every {
		return true
	}
	if e.method != "" && e.method != method && !(method == "" && e.method == "GET") {
		return false
	}
	matched, err := pathpkg.Match(e.pattern, requested)
	return matched && err == nil
}
