package github_test

import (
	"net/http"
	"os"
	"testing"

	"github.com/tributaryhq/tributary/internal/leak"
)

func TestMain(m *testing.M) {
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	os.Exit(leak.Code(code))
}
