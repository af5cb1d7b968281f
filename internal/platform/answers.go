package platform

import (
	"context"
	"time"

	"github.com/tributaryhq/tributary/internal/answers"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// answerStore has the response cache in Postgres.
type answerStore struct{ *postgres.Store }

func (s answerStore) Answers(ctx context.Context, key []byte, now time.Time) ([]answers.Stored, error) {
	rows, err := s.CachedAnswers(ctx, key, now)
	if err != nil {
		return nil, err
	}
	kept := make([]answers.Stored, 0, len(rows))
	for _, row := range rows {
		kept = append(kept, answers.Stored{
			Key: row.Key, Variant: row.Variant, Vary: row.Vary, Answer: row.Plain, StoredAt: row.StoredAt,
			FreshUntil: row.FreshUntil, KeepUntil: row.KeepUntil,
		})
	}
	return kept, nil
}

func (s answerStore) PutAnswer(ctx context.Context, answer answers.Stored) error {
	vary := answer.Vary
	if vary == nil {
		vary = []string{}
	}
	return s.PutCachedAnswer(ctx, dbsqlc.AnswerPutParams{
		Key: answer.Key, Variant: answer.Variant, Vary: vary, StoredAt: answer.StoredAt, FreshUntil: answer.FreshUntil,
		KeepUntil: answer.KeepUntil,
	}, answer.Answer)
}
