package github

import "sync"

// answer is what the upstream said, with the tag by which it says that it would say so again.
type answer struct {
	tag, link string
	body      []byte
}

// answers remembers the latest answers, up to a number of bytes. A nil one remembers nothing.
type answers struct {
	most int

	mu    sync.Mutex
	byKey map[string]answer
	// order holds every key once, the oldest answer first.
	order []string
	bytes int
}

func newAnswers(most int) *answers { return &answers{most: most, byKey: map[string]answer{}} }

func (a *answers) get(key string) (answer, bool) {
	if a == nil {
		return answer{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	found := a.byKey[key]
	return found, found.tag != ""
}

// put remembers an answer in place of an older one to the same key. Those without a tag, or too large to leave room for others, are not kept.
func (a *answers) put(key string, said answer) {
	if a == nil || said.tag == "" || len(said.body) > a.most/4 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, ok := a.byKey[key]; ok {
		a.bytes -= len(old.body)
	} else {
		a.order = append(a.order, key)
	}
	a.byKey[key] = said
	a.bytes += len(said.body)
	for a.bytes > a.most {
		oldest := a.order[0]
		a.order = a.order[1:]
		a.bytes -= len(a.byKey[oldest].body)
		delete(a.byKey, oldest)
	}
}

// drop forgets the answer to a key. Its place in the order stays until it is the oldest.
func (a *answers) drop(key string) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, ok := a.byKey[key]; ok {
		a.bytes -= len(old.body)
		a.byKey[key] = answer{}
	}
}
