package webhookingress

// FreeBodyBytes is how much of the budget for bodies nobody holds.
func (g *Ingress) FreeBodyBytes() int64 { return g.bodies.Free() }

// FreeRequests is how many more requests there is room for.
func (g *Ingress) FreeRequests() int64 { return g.requests.Free() }
