package httpserver

import "net"

// Refused and Evicted are how many connections found no place, and how many lost theirs.
func (s *Server) Refused() int64 { return s.conns.refused.Load() }

func (s *Server) Evicted() int64 { return s.conns.evicted.Load() }

// FreeConnections is how many more connections there is room for.
func (s *Server) FreeConnections() int64 { return s.conns.share.Free() }

// Waiting is how many connections the client has to send something on.
func (s *Server) Waiting() int {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	return s.conns.waiting.Len()
}

// Waits is the place of a client's connection among those that wait, the longest first; -1 when it does not wait.
func (s *Server) Waits(of net.Conn) int {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	at := 0
	for e := s.conns.waiting.Front(); e != nil; e = e.Next() {
		if c, ok := e.Value.(*conn); ok && c.RemoteAddr().String() == of.LocalAddr().String() {
			return at
		}
		at++
	}
	return -1
}

// Draining reports whether the context has ended.
func (s *Server) Draining() bool { return s.draining.Load() }

// Close ends the server at once.
func (s *Server) Close() { _ = s.http.Close() }
