package webhookingress

import "context"

// FreeBodyBytes is how much of the budget for bodies nobody holds.
func (g *Ingress) FreeBodyBytes() int64 { return g.bodies.Free() }

// FreeRequests is how many more requests there is room for.
func (g *Ingress) FreeRequests() int64 { return g.requests.Free() }

// LeftBehind is how many calls of a provider were left behind and have not returned.
func (g *Ingress) LeftBehind(provider string) int {
	g.calls.mu.Lock()
	defer g.calls.mu.Unlock()
	return g.calls.left[provider]
}

// LookAtBacklog looks once whose webhooks are to be refused.
func (g *Ingress) LookAtBacklog(ctx context.Context) error { return g.lookAtBacklog(ctx) }
