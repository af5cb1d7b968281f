package validate_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/validate"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// secret stands in every value of these tests; no error may contain it.
const secret = "hunter2-hunter2"

// described is a provider of the rules and the data it is given, for credentials and metadata alike.
type described struct {
	rules contracts.Rules
	data  func() any
}

func (described) Name() string                       { return "Described" }
func (d described) CredentialRules() contracts.Rules { return d.rules }
func (d described) MetadataRules() contracts.Rules   { return d.rules }
func (d described) CredentialData() any              { return d.make() }
func (d described) MetadataData() any                { return d.make() }

func (d described) make() any {
	if d.data == nil {
		return nil
	}
	return d.data()
}

type owner struct {
	Email string `json:"email" validate:"required,email"`
}

type base struct {
	Region string `json:"region" validate:"omitempty,oneof=eu us"`
}

type settings struct {
	base
	Token    string            `json:"token" validate:"required,min=20"`
	Repo     string            `json:"repo" validate:"min=1"`
	Port     int               `json:"port" validate:"max=65535"`
	Since    *time.Time        `json:"since" validate:"omitempty,gt"`
	Labels   []string          `json:"labels" validate:"max=3,dive,required"`
	Headers  map[string]string `json:"headers" validate:"dive,min=2"`
	Billing  *owner            `json:"billing"`
	Contact  owner             `json:"contact"`
	Ratio    float64           `json:"ratio,string"`
	internal string            //nolint:unused // what JSON does not see
	Ignored  string            `json:"-" validate:"required"`
}

func typed() described {
	return described{rules: contracts.RulesFor[settings](), data: func() any { return new(settings) }}
}

func TestTyped(t *testing.T) {
	const valid = `"token":"hunter2-hunter2-hunter2","repo":"r","contact":{"email":"a@example.com"}`
	tests := []struct {
		name, raw string
		want      []string
	}{
		{"valid", `{` + valid + `}`, nil},
		{
			"all given", `{` + valid + `,"region":"eu","port":1,"since":"2024-03-01T00:00:00Z","labels":["a"],"headers":{"a":"bc"},"billing":{"email":"b@example.com"},"ratio":"1.5"}`,
			[]string{"metadata.since: must be in the future"},
		},
		{"null is absent", `{` + valid + `,"region":null,"port":null,"labels":null,"billing":null}`, nil},
		{"nothing", ``, []string{"metadata.contact.email: is required", "metadata.repo: must be at least 1 character", "metadata.token: is required"}},
		{"too short", `{"token":"hunter2-hunter2","repo":"r","contact":{"email":"a@example.com"}}`, []string{"metadata.token: must be at least 20 characters"}},
		{"not an email", `{"token":"hunter2-hunter2-hunter2","repo":"r","contact":{"email":"hunter2-hunter2"}}`, []string{"metadata.contact.email: must be an email address"}},
		{"optional object with an invalid field", `{` + valid + `,"billing":{}}`, []string{"metadata.billing.email: is required"}},
		{"embedded", `{` + valid + `,"region":"hunter2-hunter2"}`, []string{"metadata.region: must be one of eu, us"}},
		{"too large", `{` + valid + `,"port":65536}`, []string{"metadata.port: must be at most 65535"}},
		{"too many, and an empty one", `{` + valid + `,"labels":["a","b","c","d"]}`, []string{"metadata.labels: must be at most 3 items"}},
		{"an empty element", `{` + valid + `,"labels":["a",""]}`, []string{"metadata.labels[1]: is required"}},
		{"a map's key is not told", `{` + valid + `,"headers":{"hunter2-hunter2":"x"}}`, []string{"metadata.headers[*]: must be at least 2 characters"}},
		{"wrong types, all of them", `{"token":12345,"repo":["r"],"port":"hunter2-hunter2","since":"hunter2-hunter2","labels":["a",1],"headers":{"a":1},"contact":"hunter2-hunter2","billing":[]}`, []string{
			"metadata.billing: must be an object",
			"metadata.contact: must be an object",
			"metadata.headers: must be an object, each value a string",
			"metadata.labels: must be a list, each element a string",
			"metadata.port: must be a whole number (int)",
			"metadata.repo: must be a string",
			"metadata.since: must be an RFC 3339 timestamp",
			"metadata.token: must be a string",
		}},
		{"a fraction", `{` + valid + `,"port":1.5}`, []string{"metadata.port: must be a whole number (int)"}},
		{"unknown, near", `{` + valid + `,"lables":[]}`, []string{`metadata.lables: is unknown; did you mean "labels"?`}},
		{"unknown, other case", `{` + valid + `,"Port":1}`, []string{`metadata.Port: is unknown; did you mean "port"?`}},
		{"unknown, nested", `{` + valid + `,"billing":{"email":"b@example.com","emial":"hunter2-hunter2"}}`, []string{`metadata.billing.emial: is unknown; did you mean "email"?`}},
		{"unknown, far", `{` + valid + `,"zzzzzzzz":1}`, []string{"metadata.zzzzzzzz: is unknown; known are billing, contact, headers, labels, port, ratio, region, repo, since, token"}},
		{"not seen by JSON", `{` + valid + `,"Ignored":"x","internal":"x"}`, []string{
			"metadata.Ignored: is unknown; known are billing, contact, headers, labels, port, ratio, region, repo, since, token",
			"metadata.internal: is unknown; known are billing, contact, headers, labels, port, ratio, region, repo, since, token",
		}},
		{"unreadable within its option", `{` + valid + `,"ratio":"hunter2-hunter2"}`, []string{"metadata: must have the form that the provider reads"}},
		{"a list", `["hunter2-hunter2"]`, []string{"metadata: must be a JSON object"}},
		{"null", `null`, []string{"metadata: must be a JSON object"}},
		{"not JSON", `{"token":"hunter2-hunter2"`, []string{"metadata: must be a JSON object"}},
	}
	v := validate.New()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			check(t, v.Metadata(typed(), json.RawMessage(test.raw)), test.want)
			var credentials []string
			for _, line := range test.want {
				credentials = append(credentials, "credentials"+strings.TrimPrefix(line, "metadata"))
			}
			check(t, v.Credentials(typed(), json.RawMessage(test.raw)), credentials)
		})
	}
}

func TestPlainMap(t *testing.T) {
	rules := contracts.Rules{
		"token": "required,min=20", "port": "omitempty,max=65535", "active": "omitempty,min=3", "tags": "omitempty,min=2",
		"owner": "omitempty", "owner.email": "required,email", "site.url": "required,url", "ratio": "omitempty,lt=1", "id": "omitempty,gte=9007199254740993",
	}
	const valid = `"token":"hunter2-hunter2-hunter2","site":{"url":"https://example.com"}`
	tests := []struct {
		name, raw string
		want      []string
	}{
		{"valid", `{` + valid + `,"other":{"is":"kept"}}`, nil},
		{"nothing", `{}`, []string{"credentials.site.url: is required", "credentials.token: is required"}},
		{"numbers are numbers", `{` + valid + `,"port":65536,"ratio":1.5}`, []string{"credentials.port: must be at most 65535", "credentials.ratio: must be less than 1"}},
		{"no rounding", `{` + valid + `,"id":9007199254740992}`, []string{"credentials.id: must be at least 9007199254740993"}},
		{"a rule that does not apply", `{` + valid + `,"active":true}`, []string{"credentials.active: has the wrong type"}},
		{"a list", `{` + valid + `,"tags":["hunter2-hunter2"]}`, []string{"credentials.tags: must be at least 2 items"}},
		{"an optional object that is given", `{` + valid + `,"owner":{"email":"hunter2-hunter2"}}`, []string{"credentials.owner.email: must be an email address"}},
		{"not an object", `{"token":"hunter2-hunter2-hunter2","site":"hunter2-hunter2","owner":["hunter2-hunter2"]}`, []string{"credentials.owner: must be an object", "credentials.site: must be an object"}},
	}
	v := validate.New()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			check(t, v.Credentials(described{rules: rules}, json.RawMessage(test.raw)), test.want)
		})
	}
}

func check(t *testing.T, err error, want []string) {
	t.Helper()
	var got []string
	if err != nil {
		got = strings.Split(err.Error(), "\n")
		if strings.Contains(err.Error(), secret) && !strings.Contains(strings.Join(want, ""), secret) {
			t.Errorf("the error contains a value: %v", err)
		}
		var e *validate.Error
		if !errors.As(err, &e) || len(e.Problems) != len(got) {
			t.Errorf("%v is no *Error of %d problems", err, len(got))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// granted has typed credentials that know nothing of tokens.
type granted struct {
	described
	contracts.OAuth2
}

func TestTokenIsValidAmongTypedCredentials(t *testing.T) {
	p := granted{described: described{data: func() any { return new(owner) }}}
	v := validate.New()
	raw := json.RawMessage(`{"email":"a@example.com","access_token":"x","refresh_token":"y","token_expires_at":"2024-03-01T00:00:00Z"}`)
	if err := v.Credentials(p, raw); err != nil {
		t.Error(err)
	}
	check(t, v.Credentials(p, json.RawMessage(`{"access_token":1,"token_expires_at":null}`)), []string{"credentials.access_token: must be a string"})
	check(t, v.Metadata(p, json.RawMessage(`{"access_token":"x"}`)), []string{"metadata.access_token: is unknown; known are email"})
}

func TestRulesAcceptsWhatIsRight(t *testing.T) {
	plain := described{rules: contracts.Rules{
		"a": "required,min=20", "b": "omitempty,url", "c": "email|url", "d": "dive,required", "e": "omitempty,dive,keys,min=1,endkeys,required",
		"f": "oneof=a b", "g": "required,email,min=3", "h.i": "gt=1",
	}}
	for name, p := range map[string]contracts.Provider{"plain": plain, "typed": typed(), "none": described{}} {
		if err := validate.Rules(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRulesReportsMistakes(t *testing.T) {
	tests := []struct {
		name  string
		rules contracts.Rules
		typed bool
		want  string
	}{
		{"unknown tag", contracts.Rules{"token": "required,mim=20"}, false, `tag "required,mim=20": Undefined validation function 'mim'`},
		{"unknown tag behind one that fails", contracts.Rules{"token": "email,nope"}, false, `tag "email,nope": Undefined validation function 'nope'`},
		{"empty tag", contracts.Rules{"token": "required,"}, false, `tag "required,": Invalid validation tag`},
		{"no parameter", contracts.Rules{"token": "min"}, false, `tag "min": strconv.ParseInt: parsing "": invalid syntax`},
		{"parameter is no number", contracts.Rules{"token": "email,min=x"}, false, `tag "email,min=x": strconv.ParseInt: parsing "x": invalid syntax`},
		{"a time in a plain map", contracts.Rules{"since": "gt"}, false, `tag "gt": strconv.ParseInt: parsing "": invalid syntax`},
		{"another field", contracts.Rules{"token": "required_with=Repo"}, false, `tag "required_with=Repo": required_with looks at other fields, and a rule sees one field alone`},
		{"comparison of fields", contracts.Rules{"token": "eqfield=Repo"}, false, `tag "eqfield=Repo": eqfield looks at other fields, and a rule sees one field alone`},
		{"unknown field", contracts.Rules{"tokn": "required"}, true, `tokn is unknown; did you mean "token"?`},
		{"unknown nested field", contracts.Rules{"billing.mail": "required"}, true, `mail is unknown; did you mean "email"?`},
		{"not for the type", contracts.Rules{"port": "url"}, true, `tag "url": url does not apply to int`},
		{"not for the type of a list", contracts.Rules{"labels": "oneof=a b"}, true, `tag "oneof=a b": oneof does not apply to []string`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := described{rules: test.rules}
			if test.typed {
				p.data = func() any { return new(settings) }
			}
			err := validate.Rules(p)
			if err == nil {
				t.Fatal("accepted")
			}
			var field string
			for field = range test.rules {
			}
			want := `provider "Described": rule for credentials.` + field + ": " + test.want + "\n" +
				`provider "Described": rule for metadata.` + field + ": " + test.want
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

// slow reads itself, for longer than anybody waits.
type slow struct{}

func (*slow) UnmarshalJSON([]byte) error { <-time.After(time.Hour); return nil }

// Rules and data that do not return, or panic, are an error that is no list of fields.
func TestProvidersCodeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for want, data := range map[string]func() any{
			"the provider's rules for credentials did not return in time": func() any { return &slow{} },
			"the provider's rules for credentials panicked: boo":          func() any { panic("boo") },
		} {
			err := validate.New().Credentials(described{data: data}, json.RawMessage(`{}`))
			var invalid *validate.Error
			if err == nil || !strings.HasPrefix(err.Error(), want) || errors.As(err, &invalid) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		<-time.After(time.Hour)
	})
}
