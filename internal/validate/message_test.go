package validate_test

import (
	"encoding/json"
	"testing"

	"github.com/tributaryhq/tributary/internal/validate"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

func TestMessagesSayWhatToDo(t *testing.T) {
	tests := []struct{ tag, value, want string }{
		{"required", `""`, "is required"},
		{"required", `false`, "is required"},
		{"min=2", `null`, "is required"},
		{"min=1", `""`, "must be at least 1 character"},
		{"gte=2", `1`, "must be at least 2"},
		{"max=2", `"hunter2"`, "must be at most 2 characters"},
		{"lte=1", `{"a":1,"b":2}`, "must be at most 1 item"},
		{"gt=2", `[1,2]`, "must be more than 2 items"},
		{"lt=2", `2.5`, "must be less than 2"},
		{"len=3", `"hunter2"`, "must be exactly 3 characters"},
		{"eq=3", `4`, "must be 3"},
		{"ne=4", `4`, "must not be 4"},
		{"oneof=a b", `"hunter2"`, "must be one of a, b"},
		{"startswith=sk_", `"hunter2"`, `must start with "sk_"`},
		{"endswith=x", `"hunter2"`, `must end with "x"`},
		{"contains=x", `"hunter2"`, `must contain "x"`},
		{"excludes=h", `"hunter2"`, `must not contain "h"`},
		{"datetime=2006-01-02", `"hunter2"`, `must be a time written like "2006-01-02"`},
		{"email", `"hunter2"`, "must be an email address"},
		{"url", `"hunter2"`, "must be a URL"},
		{"http_url", `"ftp://hunter2"`, "must be an http or https URL"},
		{"hostname", `"hunter 2"`, "must be a host name"},
		{"hostname_port", `"hunter2"`, "must be a host name and a port"},
		{"ip", `"hunter2"`, "must be an IP address"},
		{"uuid", `"hunter2"`, "must be a UUID"},
		{"alpha", `"hunter2"`, "must be letters only"},
		{"alphanum", `"hunter-2"`, "must be letters and digits only"},
		{"numeric", `"hunter2"`, "must be a number"},
		{"lowercase", `"Hunter2"`, "must be in lower case"},
		{"uppercase", `"hunter2"`, "must be in upper case"},
		{"hexadecimal", `"hunter2"`, "must satisfy the rule hexadecimal"},
		{"containsany=xyz", `"hunter2"`, "must satisfy the rule containsany=xyz"},
	}
	v := validate.New()
	for _, test := range tests {
		t.Run(test.tag+" "+test.value, func(t *testing.T) {
			p := described{rules: contracts.Rules{"field": test.tag}}
			if err := validate.Rules(p); err != nil {
				t.Error(err)
			}
			check(t, v.Metadata(p, json.RawMessage(`{"field":`+test.value+`}`)), []string{"metadata.field: " + test.want})
		})
	}
}
