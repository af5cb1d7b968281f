package answers

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFreshen(t *testing.T) {
	t.Parallel()
	kept := http.Header{
		"Etag": {`"a"`}, "Content-Type": {"application/json"}, "Content-Length": {"10"},
		"X-Old": {"stays"},
	}
	Freshen(kept, http.Header{
		"Etag": {`"b"`}, "Link": {`</2>; rel="next"`}, "Content-Type": {"text/plain"}, "Content-Length": {"0"},
		"Connection": {"close"},
	})
	want := http.Header{
		"Etag": {`"b"`}, "Link": {`</2>; rel="next"`}, "Content-Type": {"application/json"}, "Content-Length": {"10"},
		"X-Old": {"stays"},
	}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("headers of a kept answer (-want +got):\n%s", diff)
	}
}
