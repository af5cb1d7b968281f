package webhookingress

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tributaryhq/tributary/internal/httpserver"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// firstRead is how much memory a body has at first. It gets four times as much whenever that is full.
const firstRead = 16 << 10

var (
	errTooLarge = errors.New("the body is too large")
	errNoMemory = errors.New("the budget for bodies is used up")
)

// incoming is a request while its body arrives.
type incoming struct {
	ingress *Ingress
	client  httpserver.Client
	// most is how many bytes the body may have, taken how many the budget has given. They are given back when the request is answered.
	most, taken int64
}

func (in *incoming) release() { in.ingress.bodies.Give(in.client, in.taken) }

// read reads the request as it came: a compressed body is what was signed, and is never inflated.
func (in *incoming) read(w http.ResponseWriter, r *http.Request) (*contracts.WebhookRequest, *answer) {
	body, err := in.body(http.NewResponseController(w), r)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, &answer{code: http.StatusRequestEntityTooLarge, status: fmt.Sprintf("a webhook to this address has %d bytes at most", in.most), label: "too-large"}
	case errors.Is(err, errNoMemory):
		later := in.ingress.later("too many large requests at this moment", "memory")
		return nil, &later
	case err != nil:
		return nil, &answer{code: http.StatusBadRequest, status: "the body did not arrive whole, or not in time", label: "broken"}
	}
	httpserver.Arrived(r)
	return &contracts.WebhookRequest{
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: withHost(r), Body: body,
		ReceivedAt: in.ingress.Now().UTC().Truncate(time.Microsecond),
	}, nil
}

// body takes memory as the body arrives, not as it was announced, and gives up a sender that is slower than the least rate.
func (in *incoming) body(control *http.ResponseController, r *http.Request) ([]byte, error) {
	if r.Body == http.NoBody {
		return nil, nil
	}
	if r.ContentLength > in.most {
		return nil, errTooLarge
	}
	// One byte more than allowed tells a body that is too large from one that is not.
	end := in.most + 1
	if r.ContentLength > 0 {
		end = r.ContentLength
	}
	patience := newPatience(in.ingress.Settings, time.Now())
	var body []byte
	for {
		if int64(len(body)) > in.most {
			return nil, errTooLarge
		}
		if len(body) == cap(body) {
			larger, err := in.grow(body, end)
			if err != nil {
				return nil, err
			}
			body = larger
		}
		if err := control.SetReadDeadline(patience.deadline); err != nil {
			return nil, err
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF) && int64(len(body)) <= in.most:
			return body, control.SetReadDeadline(time.Time{})
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		}
		patience.earn(n, time.Now())
	}
}

// grow returns the body with more room, as far as the budget gives it.
func (in *incoming) grow(body []byte, end int64) ([]byte, error) {
	room := min(max(4*int64(cap(body)), firstRead), end)
	more := room - int64(cap(body))
	if !in.ingress.bodies.Take(in.client, more) {
		return nil, errNoMemory
	}
	in.taken += more
	return append(make([]byte, 0, room), body...), nil
}

// patience is how long the next bytes of a body may take. Each byte that has come earns the time that it may take at the least rate.
type patience struct {
	deadline, latest time.Time
	stall            time.Duration
	rate             int64
}

func newPatience(s Settings, now time.Time) *patience {
	return &patience{deadline: now.Add(s.Stall), latest: now.Add(s.BodyTimeout), stall: s.Stall, rate: s.MinRate}
}

// earn moves the deadline for n bytes, never to more than the stall from now, and never beyond the time for the whole body.
func (p *patience) earn(n int, now time.Time) {
	p.deadline = p.deadline.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
	for _, bound := range []time.Time{now.Add(p.stall), p.latest} {
		if p.deadline.After(bound) {
			p.deadline = bound
		}
	}
}

// withHost puts the Host header back, which net/http keeps apart: some senders sign it.
func withHost(r *http.Request) http.Header {
	header := r.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Host", r.Host)
	return header
}
