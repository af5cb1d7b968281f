package github

// NewKeeping is [New] with another bound.
func NewKeeping(bytes int) Provider { return Provider{answers: newAnswers(bytes)} }

// KeptBytes is how much a provider remembers.
func (p Provider) KeptBytes() int {
	p.answers.mu.Lock()
	defer p.answers.mu.Unlock()
	return p.answers.bytes
}
