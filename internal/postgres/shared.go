package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// acceptsRest is a fraction of the time that a batch takes. With it, a run costs Postgres a few hundred questions a second and process, however fast it is.
const acceptsRest = time.Millisecond

// RunAccepts tells what every delivery and publication of a run must know before it goes on. Batches of a run come several at a time: those that ask while an
// answer is on its way, or shortly after, share the next one.
func (s *Store) RunAccepts(ctx context.Context, id uuid.UUID) (*dbsqlc.RunAcceptsRow, error) {
	return s.accepts.ask(ctx, id, s.Queries.RunAccepts)
}

// shared puts a question once for all who ask it at about the same time. Nobody is given the answer to a question that was put before he asked. The zero value
// puts the next question as soon as the one before is answered.
type shared[K comparable, V any] struct {
	// rest is for how long a key is left alone after an answer: who asks meanwhile waits for others to ask with. The first to ask in a while does not.
	rest time.Duration

	mu sync.Mutex
	// put are the questions that were put last, until they have rested; next those that wait for them.
	put, next map[K]*question[V]
}

type question[V any] struct {
	answered, rested chan struct{}
	answer           V
	err              error
}

func (s *shared[K, V]) ask(ctx context.Context, key K, query func(context.Context, K) (V, error)) (answer V, err error) {
	q, mine := s.join(key)
	if mine {
		return s.send(ctx, key, q, query)
	}
	select {
	case <-q.answered:
	case <-ctx.Done():
		return answer, ctx.Err()
	}
	if q.err != nil {
		// That may be the end of the asker's context.
		return query(ctx, key)
	}
	return q.answer, nil
}

// join returns the question to wait for, and whether it is the caller's to send.
func (s *shared[K, V]) join(key K) (q *question[V], mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.next[key]; q != nil {
		return q, false
	}
	if s.put == nil {
		s.put, s.next = map[K]*question[V]{}, map[K]*question[V]{}
	}
	q = &question[V]{answered: make(chan struct{}), rested: make(chan struct{})}
	s.next[key] = q
	return q, true
}

// send puts the question, once the one before is answered and has rested.
func (s *shared[K, V]) send(ctx context.Context, key K, q *question[V], query func(context.Context, K) (V, error)) (V, error) {
	s.mu.Lock()
	before := s.put[key]
	s.mu.Unlock()
	if before != nil {
		<-before.rested
	}
	s.mu.Lock()
	s.put[key] = q
	delete(s.next, key)
	s.mu.Unlock()
	q.answer, q.err = query(ctx, key)
	close(q.answered)
	time.AfterFunc(s.rest, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.put[key] == q {
			delete(s.put, key)
		}
		close(q.rested)
	})
	return q.answer, q.err
}
