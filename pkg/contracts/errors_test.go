package contracts_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

func TestErrorsAreVerbs(t *testing.T) {
	cause := errors.New("cause")
	tests := []struct {
		name                      string
		err                       error
		deferral, permanent, skip bool
		is                        bool // wraps cause
		text                      string
	}{
		{"deferral", contracts.RetryAfter(time.Minute, cause), true, false, false, true, "retry after 1m0s: cause"},
		{
			"deferral without a cause", contracts.RetryAfter(time.Minute, nil), true, false, false, false,
			"retry after 1m0s",
		},
		{
			"long deferral", contracts.RetryAfter(585422707966, cause), true, false, false, true,
			"retry after 9m45s: cause",
		},
		{
			"short deferral", contracts.RetryAfter(1500*time.Millisecond+7, nil), true, false, false, false,
			"retry after 1.5s",
		},
		{"negative deferral", contracts.RetryAfter(-time.Minute, nil), true, false, false, false, "retry after 0s"},
		{"permanent", contracts.Permanent(cause), false, true, false, true, "cause"},
		{"permanent of nothing by hand", &contracts.PermanentError{}, false, true, false, false, "permanent failure"},
		{"skip", contracts.Skip("a draft"), false, false, true, false, "skipped: a draft"},
		{
			"wrapped", fmt.Errorf("handle: %w", contracts.RetryAfter(0, cause)), true, false, false, true,
			"handle: retry after 0s: cause",
		},
		{
			"joined", errors.Join(errors.New("other"), contracts.Permanent(cause)), false, true, false,
			true, "other\ncause",
		},
		{"none", cause, false, false, false, true, "cause"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, ok := contracts.AsDeferral(test.err); ok != test.deferral {
				t.Errorf("AsDeferral = %v", ok)
			}
			if ok := contracts.IsPermanent(test.err); ok != test.permanent {
				t.Errorf("IsPermanent = %v", ok)
			}
			if _, ok := contracts.AsSkip(test.err); ok != test.skip {
				t.Errorf("AsSkip = %v", ok)
			}
			if ok := errors.Is(test.err, cause); ok != test.is {
				t.Errorf("errors.Is = %v", ok)
			}
			if test.err.Error() != test.text {
				t.Errorf("text = %q, want %q", test.err, test.text)
			}
		})
	}
	if err := contracts.Permanent(nil); err != nil {
		t.Errorf("Permanent(nil) = %v", err)
	}
}
