package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

const (
	// demoAddr is where the demo upstream listens, so that an integration made by an earlier start still finds it.
	demoAddr = "127.0.0.1:8484"
	demoName = "demo"
	// demoProvider is the key of the provider that can talk to the demo upstream.
	demoProvider = "github"
	// demoSecret signs the demo upstream's webhooks.
	demoSecret = "demo-webhook-secret"
	// demoLatency makes the demo upstream about as slow as a quick API.
	demoLatency = 20 * time.Millisecond
)

// demo is the upstream that dev brings along, and the integration that syncs from it.
type demo struct {
	upstream *upstream.Upstream
	// webhooks is the address of webhooks without what stands for the provider and the integration.
	webhooks string
	// keys are those of the providers here.
	keys []string
}

// startDemo starts the demo upstream, unless it is not wanted or no provider here can talk to it.
func (c devCommand) startDemo(ctx context.Context, p *program, ingress net.Listener, say func(string, ...any)) (*demo, error) {
	d := &demo{webhooks: "http://" + ingress.Addr().String() + p.config.Webhooks.Prefix, keys: slices.Sorted(maps.Keys(p.providers))}
	if c.NoDemo || p.providers[demoProvider] == nil {
		return d, nil
	}
	d.upstream = upstream.New(upstream.Options{Addr: demoAddr, Issues: c.DemoIssues})
	err := d.upstream.Start(ctx)
	if err != nil {
		d.upstream = upstream.New(upstream.Options{Issues: c.DemoIssues})
		err = d.upstream.Start(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("start the demo upstream (do without it by --no-demo): %w", err)
	}
	d.upstream.Always(upstream.Latency(demoLatency))
	say("upstream   %s, a demo that speaks GitHub's API, with %s issues", d.upstream.URL(), grouped(int64(c.DemoIssues)))
	return d, nil
}

func (d *demo) stop() {
	if d.upstream != nil {
		_ = d.upstream.Close()
	}
}

// ensure creates the demo integration if there is no integration at all, lets one of an earlier start find the upstream, and says what to try.
func (d *demo) ensure(ctx context.Context, nc *nats.Conn, say func(string, ...any)) error {
	client := api.New(nc, apiTimeout)
	page, err := awaitAPI(ctx, client)
	if err != nil {
		return err
	}
	if d.upstream == nil {
		d.sayOwn(say, len(page.Integrations) > 0)
		return nil
	}
	metadata, err := json.Marshal(map[string]string{"owner": d.upstream.Owner(), "repo": d.upstream.Repo(), "base_url": d.upstream.URL()})
	if err != nil {
		return fmt.Errorf("encode the demo's metadata: %w", err)
	}
	credentials, err := json.Marshal(map[string]string{"token": d.upstream.Token(), "webhook_secret": demoSecret})
	if err != nil {
		return fmt.Errorf("encode the demo's credentials: %w", err)
	}
	if len(page.Integrations) == 0 {
		_, err = client.CreateIntegration(ctx, api.CreateIntegration{
			Provider: demoProvider, Name: demoName, Metadata: metadata, Credentials: credentials, SyncInterval: "1m", By: "tributary dev",
		})
		if err != nil {
			return fmt.Errorf("create the demo integration: %w", err)
		}
		say("created    integration %q: syncs %s/%s every minute", demoName, d.upstream.Owner(), d.upstream.Repo())
		d.sendWebhooks(say)
		d.sayNext(say)
		return nil
	}
	existing, err := client.Integration(ctx, demoName)
	if err != nil || !d.isOurs(existing) {
		say("upstream   is not used: there are integrations already, and none is the demo's")
		d.sayOwn(say, true)
		return nil //nolint:nilerr // no demo integration, or one that was pointed elsewhere
	}
	_, err = client.UpdateIntegration(ctx, api.UpdateIntegration{
		Provider: demoProvider, Integration: demoName, Metadata: metadata, Credentials: credentials, By: "tributary dev",
	})
	if err != nil {
		return fmt.Errorf("point the demo integration at the demo upstream: %w", err)
	}
	d.sendWebhooks(say)
	d.sayNext(say)
	return nil
}

// sendWebhooks has the upstream tell of its edits.
func (d *demo) sendWebhooks(say func(string, ...any)) {
	address := d.webhooks + "/" + demoProvider + "/" + demoName + "/webhook"
	d.upstream.SendWebhooks(address, demoSecret)
	say("webhooks   %s, where the upstream tells of every edit", address)
}

// sayOwn says what to do with integrations of one's own.
func (d *demo) sayOwn(say func(string, ...any), some bool) {
	say("webhooks   %s/<provider>/<integration>/webhook", d.webhooks)
	binary := os.Args[0]
	if !some {
		say("next       %s integrations create %s; --help says how to give metadata and credentials", binary, strings.Join(d.keys, "|"))
	}
	say("look       %[1]s integrations list; %[1]s runs list; %[1]s --help; Ctrl-C stops", binary)
}

// isOurs reports whether the integration points at a demo upstream, this one's or an earlier one's.
func (d *demo) isOurs(in api.Integration) bool {
	if in.Provider != demoProvider || in.Details == nil {
		return false
	}
	var metadata struct {
		Owner   string `json:"owner"`
		BaseURL string `json:"base_url"`
	}
	if err := json.Unmarshal(in.Details.Metadata, &metadata); err != nil {
		return false
	}
	host, _, err := net.SplitHostPort(strings.TrimPrefix(metadata.BaseURL, "http://"))
	return err == nil && host == "127.0.0.1" && metadata.Owner == d.upstream.Owner()
}

func (d *demo) sayNext(say func(string, ...any)) {
	repo := d.upstream.URL() + "/repos/" + d.upstream.Owner() + "/" + d.upstream.Repo()
	say("try        curl -X PATCH -H 'Authorization: Bearer %s' -d '{\"title\":\"Changed\"}' %s/issues/1", d.upstream.Token(), repo)
	say("           a webhook brings it at once; bin/tributary webhooks list")
	say("then       bin/tributary sync %s     (or: nats pub tributary.commands.sync.%s '')", demoName, demoName)
	say("look       bin/tributary requests list --limit 10; bin/tributary health %s; bin/tributary rate-limit status %s; bin/tributary circuit status %s", demoName, demoName, demoName)
	say("and        bin/tributary runs list; bin/tributary cursor show %s; bin/tributary --help; Ctrl-C stops", demoName)
}

// awaitAPI waits for the scheduler in this process to answer.
func awaitAPI(ctx context.Context, client *api.Client) (api.IntegrationPage, error) {
	for {
		page, err := client.Integrations(ctx, api.ListIntegrations{Limit: 1})
		if err == nil {
			return page, nil
		}
		if code := api.CodeOf(err); code != api.Unavailable || ctx.Err() != nil {
			return page, errors.Join(ctx.Err(), err)
		}
		select {
		case <-ctx.Done():
			return page, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
