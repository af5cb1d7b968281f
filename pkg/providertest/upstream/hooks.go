package upstream

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"
)

const (
	// hookTimeout is how long a receiver may take, as with GitHub. A delivery that fails is not sent again, as with GitHub.
	hookTimeout = 10 * time.Second
	// hooksWaiting is how many deliveries may wait for a slow receiver; more are dropped.
	hooksWaiting = 1000
)

// hooks send a webhook for every edit.
type hooks struct {
	url, secret string
	waiting     chan hookDelivery
	stop        context.CancelFunc
	stopped     chan struct{}
}

type hookDelivery struct {
	event, id string
	body      []byte
}

// SendWebhooks has every edit of an issue or comment from now on told to an address, one after the other, signed with a secret as GitHub does. It is called once, and
// first sends a ping.
func (u *Upstream) SendWebhooks(address, secret string) {
	ctx, stop := context.WithCancel(context.Background())
	h := &hooks{url: address, secret: secret, waiting: make(chan hookDelivery, hooksWaiting), stop: stop, stopped: make(chan struct{})}
	go func() {
		defer close(h.stopped)
		for {
			select {
			case <-ctx.Done():
				return
			case d := <-h.waiting:
				if err := h.send(ctx, d); err != nil {
					u.opts.Log.Warn("webhook not delivered", "event", d.event, "delivery", d.id, "error", err)
				}
			}
		}
	}()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.hooks = h
	u.deliver("ping", map[string]any{"zen": "Keep it logically awesome.", "hook_id": 1})
}

func (h *hooks) send(ctx context.Context, d hookDelivery) error {
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(d.body))
	if err != nil {
		return err
	}
	maps.Copy(req.Header, HookHeaders(d.event, d.id, h.secret, d.body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the receiver answers %s", resp.Status)
	}
	return nil
}

// HookHeaders are those of a delivery of GitHub's, with the signature of its body.
func HookHeaders(event, id, secret string, body []byte) http.Header {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"GitHub-Hookshot/demo"}, "X-Github-Event": {event}, "X-Github-Delivery": {id},
		"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(mac.Sum(nil))},
	}
}

// tellIssue is called under the lock, after an issue was changed.
func (u *Upstream) tellIssue(action string, number int) {
	if u.hooks == nil {
		return
	}
	if issue, err := u.rendered(&u.store.issues, number, u.ownRenderer().issue); err == nil {
		u.deliver("issues", map[string]any{"action": action, "issue": issue})
	}
}

// tellComment is called under the lock, after a comment was changed.
func (u *Upstream) tellComment(action string, id, number int) {
	if u.hooks == nil {
		return
	}
	issue, issueErr := u.rendered(&u.store.issues, number, u.ownRenderer().issue)
	comment, err := u.rendered(&u.store.comments, id, u.ownRenderer().comment)
	if issueErr == nil && err == nil {
		u.deliver("issue_comment", map[string]any{"action": action, "issue": issue, "comment": comment})
	}
}

func (u *Upstream) ownRenderer() renderer {
	return renderer{u: u, base: cmp.Or(u.opts.PublicURL, u.url)}
}

func (u *Upstream) rendered(from *shelf, key int, render func(ref) (json.RawMessage, error)) (json.RawMessage, error) {
	found, ok := from.get(key)
	if !ok {
		return nil, fmt.Errorf("no record %d", key)
	}
	return render(found)
}

// deliver is called under the lock.
func (u *Upstream) deliver(event string, payload map[string]any) {
	payload["repository"] = map[string]any{"full_name": u.opts.Owner + "/" + u.opts.Repo, "name": u.opts.Repo}
	body, err := json.Marshal(payload)
	if err != nil {
		u.opts.Log.Error("webhook not made", "event", event, "error", err)
		return
	}
	select {
	case u.hooks.waiting <- hookDelivery{event: event, id: deliveryID(), body: body}:
	default:
		u.opts.Log.Warn("webhook dropped: too many wait", "event", event)
	}
}

// deliveryID is a GUID, as GitHub's are.
func deliveryID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (u *Upstream) stopHooks() {
	u.mu.Lock()
	h := u.hooks
	u.hooks = nil
	u.mu.Unlock()
	if h != nil {
		h.stop()
		<-h.stopped
	}
}
