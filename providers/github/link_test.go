package github

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseLinks(t *testing.T) {
	t.Parallel()
	for header, want := range map[string][]link{
		"": nil,
		`<https://a/x?page=2>; rel="next", <https://a/x?page=9>; rel="last"`: {
			{"https://a/x?page=2", map[string]string{"rel": "next"}}, {"https://a/x?page=9", map[string]string{"rel": "last"}},
		},
		`<https://a/x?ids=1,2,3;4>;rel=next`:                   {{"https://a/x?ids=1,2,3;4", map[string]string{"rel": "next"}}},
		`<a>; title="one, two; rel=\"next\""; rel="prev next"`: {{"a", map[string]string{"title": `one, two; rel="next"`, "rel": "prev next"}}},
		`<a>; REL = "NEXT" ; rel="prev"`:                       {{"a", map[string]string{"rel": "NEXT"}}},
		`<a>; crossorigin; rel=next,<b>;rel=prev`:              {{"a", map[string]string{"crossorigin": "", "rel": "next"}}, {"b", map[string]string{"rel": "prev"}}},
		`<a>, <b>; rel=next`:                                   {{"a", map[string]string{}}, {"b", map[string]string{"rel": "next"}}},
		`<a>; rel="next`:                                       {{"a", map[string]string{"rel": "next"}}},
		`<a`:                                                   nil,
		`; rel="next"`:                                         nil,
	} {
		if diff := cmp.Diff(want, parseLinks(header), cmp.AllowUnexported(link{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", header, diff)
		}
	}
}

func TestLinkRelations(t *testing.T) {
	t.Parallel()
	for rel, want := range map[string]bool{"next": true, "NEXT": true, "prev next": true, "nextish": false, "": false} {
		if got := (link{params: map[string]string{"rel": rel}}).has("next"); got != want {
			t.Errorf("rel %q: %t", rel, got)
		}
	}
}

func FuzzParseLinks(f *testing.F) {
	f.Add(`<https://a/x?page=2>; rel="next", <b>; rel="last"`)
	f.Add(`<a>; title="\`)
	f.Fuzz(func(_ *testing.T, header string) {
		for _, l := range parseLinks(header) {
			l.has("next")
		}
	})
}
