package foreign_test

import (
	"os"
	"testing"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
