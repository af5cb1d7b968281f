package providertest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// nulls checks that no field of an answer ends in a panic when it is null, as upstreams have what is empty or not to be seen. Any error will do. It looks at the
// first two answers, with lists of one element.
func (k *kit) nulls(t *testing.T, provider contracts.ScheduledSync) {
	const most = 100
	answers := k.firstAnswers(t, provider)
	for i, answer := range answers {
		tried := 0
		walk(answer.value, nil, func(path []any, value any) {
			if value == nil || len(path) == 0 || tried == most || t.Failed() {
				return
			}
			tried++
			replayed := &replay{answers: append([]recorded{}, answers[:i+1]...)}
			replayed.answers[i].value = replaced(answer.value, path, nil)
			what := fmt.Sprintf("the sync, when %s is null in the answer to request %d,", strings.Trim(fmt.Sprint(path), "[]"), i+1)
			_ = k.guarded(t, what, func() error { return provider.Sync(k.context(t), k.integration(t, replayed), &Session{}) })
		})
	}
}

// recorded is an answer of the fixture's upstream, its lists cut to one element.
type recorded struct {
	header http.Header
	value  any
}

// firstAnswers are the first answers that a sync gets, as far as they are JSON.
func (k *kit) firstAnswers(t *testing.T, provider contracts.ScheduledSync) (answers []recorded) {
	t.Helper()
	const requests = 2
	var mu sync.Mutex
	upstream := k.upstream()
	_ = k.guarded(t, "the sync", func() error {
		return provider.Sync(k.context(t), k.integration(t, transportFunc(func(req *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			if len(answers) == requests {
				return answering(http.StatusInternalServerError, "").RoundTrip(req)
			}
			res, err := upstream.RoundTrip(req)
			if err != nil {
				return nil, err
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return nil, err
			}
			if value, ok := parsed(body); ok {
				answers = append(answers, recorded{res.Header.Clone(), shortened(value)})
			}
			res.Body = io.NopCloser(bytes.NewReader(body))
			return res, nil
		})), &Session{})
	})
	return answers
}

// replay gives its answers one after the other, and then fails.
type replay struct {
	mu      sync.Mutex
	answers []recorded
}

func (r *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.answers) == 0 {
		return answering(http.StatusInternalServerError, "").RoundTrip(req)
	}
	next := r.answers[0]
	r.answers = r.answers[1:]
	answer := answering(http.StatusOK, shown(next.value))
	if next.value == nil {
		answer.body = "null"
	}
	answer.header = next.header
	answer.header.Del("Content-Length")
	return answer.RoundTrip(req)
}

// shortened is a JSON value whose lists have their first element alone.
func shortened(value any) any {
	switch v := value.(type) {
	case map[string]any:
		all := map[string]any{}
		for name, inner := range v {
			all[name] = shortened(inner)
		}
		return all
	case []any:
		if len(v) > 0 {
			return []any{shortened(v[0])}
		}
	}
	return value
}
