package providertest

import (
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// strangers checks that a stored cursor which the provider can't read, such as one of an earlier version of it, is not taken for "nothing has changed".
func (k *kit) strangers(t *testing.T, provider contracts.IncrementalSync) {
	full := k.full(t, provider)
	cursor := string(reduce(t, provider, full.Checkpoints()))
	if cursor == "" {
		return // sync has said so
	}
	strange := contracts.Cursor(`["a cursor of another version"]`)
	if strings.HasPrefix(cursor, "[") {
		strange = contracts.Cursor("true")
	}
	session := &Session{From: strange}
	err := k.run(t, provider.SyncIncremental, session, k.upstream())
	if found, all := len(session.Items()), len(full.Items()); err == nil && found < all {
		t.Errorf("from the stored cursor %s, which is none of the provider's (those look like %s), SyncIncremental finds %d of %d items and returns nil: the others are lost. "+
			"Return contracts.Permanent, or enumerate everything", strange, cursor, found, all)
	}
}
