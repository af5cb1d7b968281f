package redact

import (
	"strings"
	"testing"
)

func BenchmarkRedact(b *testing.B) {
	body := []byte(`{"data":[` + strings.Repeat(`{"id":1,"name":"a name","mail":"a@example.com"},`, 1300) + `{}]}`)
	for name, r := range map[string]*Redactor{"nothing declared": redactorOf(`{"token":"credential-value"}`), "declared": redactorOf(`{"token":"credential-value"}`, "data.*.mail")} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				r.ResponseBody("application/json", body, false)
			}
		})
	}
}
