package platform_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// questions are all endpoints, with what each takes.
func questions() map[api.Endpoint]any {
	all := map[api.Endpoint]any{
		api.IntegrationsList: api.ListIntegrations{}, api.IntegrationsShow: api.ByIntegration{}, api.IntegrationsDelete: api.DeleteIntegration{},
		api.IntegrationsCreate: api.CreateIntegration{}, api.IntegrationsUpdate: api.UpdateIntegration{}, api.ProvidersList: struct{}{},
		api.RunsList: api.ListRuns{}, api.RunsShow: api.ByID{}, api.ItemsDead: api.ListDeadItems{}, api.ItemsShow: api.ByID{},
		api.WebhooksList: api.ListWebhooks{}, api.WebhooksShow: api.ByID{},
		api.RequestsList: api.ListRequests{}, api.RequestsShow: api.ByID{}, api.RequestsKeys: api.ListKeys{}, api.RequestsResolve: api.ResolveKey{},
		api.OutboxList: api.ListSetAside{}, api.OutboxRetry: api.RetrySetAside{}, api.OutboxDrop: api.DropSetAside{},
		api.HandlersList: api.ListHandlers{}, api.HandlersForget: api.ForgetHandler{}, api.ProcessesList: struct{}{}, api.PruneRun: api.Prune{},
		api.RateLimitSet: api.SetRateLimit{}, api.RateLimitClear: api.ClearRateLimit{}, api.RateLimitStatusShow: api.ByIntegration{},
		api.CircuitOverride: api.OverrideCircuit{}, api.CircuitShow: api.ByIntegration{}, api.CursorShow: api.ByIntegration{}, api.RecordsCount: api.ByIntegration{},
		api.HealthList: api.ListIntegrations{}, api.HealthShow: api.ByIntegration{}, api.HealthTest: api.ByIntegration{},
		api.StatsList: api.ListIntegrations{}, api.IncidentsList: api.ListIncidents{}, api.IncidentsShow: api.ByID{}, api.IncidentsResolve: api.ResolveIncident{},
		api.TokenShow: api.ByIntegration{}, api.TokenRefresh: api.RefreshToken{}, api.TokenConnect: api.ConnectIntegration{}, api.TokenRevoke: api.RevokeToken{},
		api.SecretsStatus: struct{}{}, api.SecretsRotate: api.RotateSecrets{}, api.SecretsAudit: api.ListAudit{},
	}
	for _, verb := range events.Verbs() {
		all[api.CommandEndpoint(verb)] = command{}
	}
	return all
}

// command has the fields of a command in JSON.
type command struct {
	Mode        string          `json:"mode"`
	Item        string          `json:"item"`
	All         bool            `json:"all"`
	Reason      string          `json:"reason"`
	By          string          `json:"by"`
	To          json.RawMessage `json:"to"`
	None        bool            `json:"none"`
	Cancel      bool            `json:"cancel"`
	Integration string          `json:"integration"`
	Webhook     string          `json:"webhook"`
	Failed      bool            `json:"failed"`
	Since       string          `json:"since"`
	Until       string          `json:"until"`
}

// endpoints are the subjects that the services of this process answer, once all that are known are among them.
func (f *hostile) endpoints() []string {
	f.Helper()
	var subjects []string
	f.await("every endpoint", func() bool {
		inbox, err := f.nc.SubscribeSync(f.nc.NewInbox())
		if err != nil {
			f.Fatal(err)
		}
		defer func() { _ = inbox.Unsubscribe() }()
		if err := f.nc.PublishRequest("$SRV.INFO", inbox.Subject, nil); err != nil {
			f.Fatal(err)
		}
		subjects = subjects[:0]
		for {
			// Whoever has not answered by then is asked again.
			answer, err := inbox.NextMsg(time.Second)
			if err != nil {
				return false
			}
			var info micro.Info
			if err := json.Unmarshal(answer.Data, &info); err != nil {
				f.Fatal(err)
			}
			for _, endpoint := range info.Endpoints {
				subjects = append(subjects, endpoint.Subject)
			}
			if f.areAll(subjects) {
				return true
			}
		}
	})
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

// areAll reports whether there is a subject of each endpoint.
func (f *hostile) areAll(subjects []string) bool {
	for endpoint := range questions() {
		if !slices.ContainsFunc(subjects, func(subject string) bool { return endpointOf(subject) == endpoint }) {
			return false
		}
	}
	return true
}

// endpointOf is the endpoint that is asked at a subject.
func endpointOf(subject string) api.Endpoint {
	parts := strings.Split(strings.TrimPrefix(subject, events.Root+".api."), ".")
	return api.Endpoint(strings.Join(parts[:min(len(parts), 2)], "."))
}

// sample is what texts are drawn from where only some of them get on: the names of fields, and values that are
// well-formed.
type sample map[string][]string

// object draws a request: each field is left out, well-formed, or anything.
func (d *texts) object(of reflect.Type, known sample) []byte {
	object := []byte{'{'}
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || d.below(4) == 0 && name != "integration" {
			continue
		}
		if len(object) > 1 {
			object = append(object, ',')
		}
		object = append(append(object, `"`+name+`":`...), d.field(field.Type, known[name], known)...)
	}
	return append(object, '}')
}

// field draws the JSON of a value.
func (d *texts) field(of reflect.Type, values []string, known sample) []byte {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch {
	case len(values) > 0 && d.below(4) > 0:
		return quoted(values[d.below(len(values))])
	case of == reflect.TypeFor[json.RawMessage]() && d.below(2) == 0:
		return []byte(`{"text":` + string(quoted(d.text())) + `,"more":{"deep":` + string(quoted(d.text())) + `}}`)
	case of == reflect.TypeFor[json.RawMessage]():
		return d.document()
	case of == reflect.TypeFor[time.Time](), of == reflect.TypeFor[uuid.UUID]():
		odd := []string{`"9999-12-31T23:59:59Z"`, `"0000-01-01T00:00:00Z"`, `"2026-01-31T00:00:00Z"`, `null`, `"00000000-0000-0000-0000-000000000000"`}
		return []byte(odd[d.below(len(odd))])
	}
	switch of.Kind() {
	case reflect.Struct:
		return d.object(of, known)
	case reflect.Bool:
		return []byte([]string{"true", "false"}[d.below(2)])
	case reflect.Int, reflect.Int32, reflect.Int64:
		return []byte([]string{"0", "1", "-1", "500", "501", "2147483647", "2147483648", "9223372036854775807", "1e999999"}[d.below(9)])
	default:
		if d.below(4) == 0 {
			// As a caller may send it that has not escaped it.
			return []byte(`"` + d.text() + `"`)
		}
		return quoted(d.text())
	}
}

// quoted is a text in JSON, with U+FFFD for what is not UTF-8.
func quoted(text string) []byte {
	encoded, _ := json.Marshal(text) // texts can be encoded
	return encoded
}

// operateOnce is what operators say in one round: about metadata, as reasons, and in every request. What they break
// belongs to an integration of its own. It returns how many commands were carried out.
func (f *hostile) operateOnce(p anything, subjects []string, victim string) (accepted int) {
	f.Helper()
	f.metadataOf(p, victim)
	known := sample{
		"integration": {victim}, "name": {victim + "-too"}, "provider": {"anything"}, "override": {"forced-open", "forced-closed", "disabled"}, "window": {"1h"},
		"sync_interval": {"15m"}, "kind": {"item", "webhook", "message"}, "mode": {"full", "incremental"}, "as": {"succeeded", "failed"},
		"until": {"2026-01-31T00:00:00Z"}, "since": {"2026-01-31T00:00:00Z"},
		"item": f.rowsOf("dead_items"), "run": f.rowsOf("sync_runs"), "webhook": f.rowsOf("webhooks"),
	}
	known["id"] = slices.Concat(known["item"], known["run"], known["webhook"])
	accepted = f.reasonsOf(p, "anything", known)
	f.askAnything(p, subjects, known)
	return accepted
}

// askAnything asks every endpoint at each of its subjects, three times. No answer may be a failure of who gives it, and
// each can be read.
func (f *hostile) askAnything(p anything, subjects []string, known sample) {
	f.Helper()
	for _, subject := range subjects {
		endpoint := endpointOf(subject)
		request, ok := questions()[endpoint]
		if !ok {
			f.Errorf("nothing is known of the endpoint %q: it belongs into this test", subject)
			continue
		}
		for range 3 {
			f.ask(subject, p.object(reflect.TypeOf(request), known))
		}
	}
}

// ask returns an answer that is none of an internal error.
func (f *hostile) ask(subject string, body []byte) *nats.Msg {
	f.Helper()
	answer, err := f.nc.Request(subject, body, time.Minute)
	if errors.Is(err, nats.ErrMaxPayload) {
		return nil
	}
	shown := body[:min(len(body), 300)]
	if err != nil {
		f.Errorf("%s is not answered: %v\n%q", subject, err, shown)
		return nil
	}
	if code := answer.Header.Get(micro.ErrorCodeHeader); code == string(api.Internal) {
		f.Errorf("%s is answered with %s: %s\n%q", subject, code, answer.Header.Get(micro.ErrorHeader), shown)
	}
	if !json.Valid(answer.Data) || !utf8.Valid(answer.Data) {
		f.Errorf("%s is answered with what is not JSON: %q\n%q", subject, answer.Data[:min(len(answer.Data), 300)], shown)
	}
	return answer
}

// metadataOf asks for an integration whose metadata are anything, and then for such a change of them.
func (f *hostile) metadataOf(p anything, name string) {
	f.Helper()
	client := api.New(f.nc, time.Minute)
	made := api.CreateIntegration{Provider: "anything", Name: name, Owner: p.text(), Metadata: p.metadata(), By: p.text(), Paused: true}
	if _, err := client.CreateIntegration(f.Context(), made); err != nil && !isRefused(err) {
		f.Errorf("an integration could not be made: %v", err)
	}
	for range 3 {
		owner := p.text()
		change := api.UpdateIntegration{Provider: "anything", Integration: name, Owner: &owner, Metadata: p.metadata(), By: p.text()}
		if _, err := client.UpdateIntegration(f.Context(), change); err != nil && !isRefused(err) {
			f.Errorf("an integration could not be changed: %v", err)
		}
	}
}

// metadata draws an object that fits the provider.
func (d *texts) metadata() json.RawMessage {
	return json.RawMessage(`{"text":` + string(quoted(d.text())) + `,"more":{` + string(quoted(d.text())) + `:` + string(quoted(d.text())) + `}}`)
}

// isRefused reports whether the request is told to be wrong.
func isRefused(err error) bool {
	switch api.CodeOf(err) {
	case api.Invalid, api.NotFound, api.Conflict, api.Refused:
		return true
	}
	return false
}

// reasonsOf has dead items retried and skipped, and an integration paused and resumed, for any reason and by anybody.
// It returns how many commands were carried out.
func (f *hostile) reasonsOf(p anything, integration string, known sample) (accepted int) {
	f.Helper()
	client := api.New(f.nc, time.Minute)
	for n, id := range known["item"] {
		verb := []events.Verb{events.VerbRetry, events.VerbSkip}[n%2]
		accepted += f.command(client, verb, &eventsv1.Command{Integration: integration, Item: id, Reason: p.text(), By: p.text()})
	}
	for _, verb := range []events.Verb{events.VerbPause, events.VerbResume, events.VerbEnable} {
		accepted += f.command(client, verb, &eventsv1.Command{Integration: integration, Reason: p.text(), By: p.text()})
	}
	// Some reasons are refused, and the integration must go on.
	if f.command(client, events.VerbResume, &eventsv1.Command{Integration: integration}) == 0 {
		f.Errorf("integration %q is not resumed", integration)
	}
	return accepted
}

// command reports with 1 that a command was carried out. One that meets another transaction is sent again, as its
// sender is told.
func (f *hostile) command(client *api.Client, verb events.Verb, c *eventsv1.Command) (accepted int) {
	f.Helper()
	f.await(fmt.Sprint("an answer to the command ", verb), func() bool {
		reply, err := client.Command(f.Context(), verb, c)
		if err == nil && reply.GetAccepted() {
			accepted = 1
		}
		if err != nil && !isRefused(err) && api.CodeOf(err) != api.Unavailable {
			f.Errorf("the command %s fails: %v", verb, err)
		}
		return api.CodeOf(err) != api.Unavailable
	})
	return accepted
}

// rowsOf are ids of a table's rows.
func (f *hostile) rowsOf(table string) (ids []string) {
	f.Helper()
	rows, err := f.pool.Query(f.Context(), fmt.Sprintf("select id::text from %s order by random() limit 12", table))
	if err != nil {
		f.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			f.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}
