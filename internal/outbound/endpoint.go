package outbound

import (
	pathpkg "path"
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

func unloggedEndpoints(provider contracts.Provider) []endpoint {
	limiter, ok := provider.(contracts.ResponseLogLimiter)
	if !ok {
		return nil
	}
	texts, err := panics.Compute("the list of unlogged endpoints", func() ([]string, error) {
		return limiter.UnloggedResponseEndpoints(), nil
	})
	if err != nil {
		return []endpoint{{every: true}}
	}
	var all []endpoint
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
