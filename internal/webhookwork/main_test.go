package webhookwork_test

import (
	"os"
	"testing"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/leak"
)

func TestMain(m *testing.M) {
	os.Exit(leak.Code(pgtest.Main(m)))
}
