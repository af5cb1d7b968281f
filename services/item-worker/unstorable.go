package itemworker

import (
	"context"

	"github.com/tributaryhq/tributary/internal/deaditems"
)

// buryUnstorable writes the items of a batch dead that no store takes, before anything is done with them: older versions published such items. Others go on.
func (j *job) buryUnstorable(ctx context.Context) error {
	var dead []result
	for _, item := range j.todo() {
		if err := j.outcomes.check(item); err != nil {
			dead = append(dead, result{item: item, err: err}.dead(deaditems.Invalid))
		}
	}
	if len(dead) == 0 {
		return nil
	}
	if err := j.commit(ctx, dead); err != nil {
		return err
	}
	return j.settle(ctx)
}

// putOffAll has all items of a batch wait, and calls no handler.
func (j *job) putOffAll(ctx context.Context, cause error) error {
	var waiting []result
	for _, item := range j.todo() {
		waiting = append(waiting, j.classify(handled{item: item, err: putOff(cause)}))
	}
	if err := j.commit(ctx, waiting); err != nil {
		return err
	}
	return j.settle(ctx)
}
