package api_test

import (
	"encoding/json"
	"testing"

	"github.com/tributaryhq/tributary/internal/api"
)

// TestEncode encodes a payload that was stored in Latin-1.
func TestEncode(t *testing.T) {
	t.Parallel()
	reply, err := api.Encode(api.DeadItemDetails{Payload: json.RawMessage("{\"name\":\"caf\xe9 <b>\"}")})
	if want := "{\"checkpoint\":null,\"payload\":{\"name\":\"caf\ufffd <b>\"},\"payload_bytes\":0}"; err != nil || string(reply) != want {
		t.Errorf("the reply is %q, %v; want %q", reply, err, want)
	}
}
