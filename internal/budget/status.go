package budget

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Status is how a request budget stands, for people.
type Status struct {
	// Used is what was leased in the window that ends at WindowEnds, Free what can be.
	Used, Free int64
	WindowEnds time.Time
	// SuppressedUntil is until when the upstream wants no requests; zero if it takes some.
	SuppressedUntil time.Time
	// UpstreamLeft is what the upstream allows until UpstreamUntil; zero times if it said nothing that matters.
	UpstreamLeft  int64
	UpstreamUntil time.Time
}

// Status reads how a budget stands; nil is unlimited.
func (b *Budgets) Status(ctx context.Context, provider contracts.Provider, in *contracts.Integration,
	limit *contracts.RateLimit,
) (status Status, err error) {
	if err := b.clock.Refresh(ctx); err != nil {
		return status, err
	}
	key, err := boundedKey(provider, in)
	if err != nil {
		return status, err
	}
	now := b.earliest()
	var told said
	if err := b.readCell(ctx, key+saidKey, &told); err != nil {
		return status, err
	}
	if told.Until.After(now) {
		status.SuppressedUntil = told.Until
	}
	if limit == nil {
		return status, nil
	}
	var spent spending
	if err := b.readCell(ctx, spendingKey(key, *limit), &spent); err != nil {
		return status, err
	}
	spent = spent.at(windowAt(now, limit.Window), limit.Window)
	status.Used, status.Free, status.WindowEnds = spent.Used, spent.free(*limit, now), spent.Start.Add(limit.Window)
	if spent.LeftUntil.After(now) {
		status.UpstreamLeft, status.UpstreamUntil = spent.Left, spent.LeftUntil
	}
	return status, nil
}

func (b *Budgets) readCell(ctx context.Context, key string, into any) error {
	value, _, err := b.cells.Read(ctx, key)
	if err != nil || len(value) == 0 {
		return err
	}
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	return nil
}
