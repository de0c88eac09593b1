package evento

// Followers is how many share a feed, and Indexed how many keys it knows.
func (f *Feed) Followers() (followers, indexed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.interests.followers) + len(f.joining) + len(f.entering) + f.waiting.Len(), len(f.index.byKey) + len(f.interests.kinds) + len(f.interests.routings)
}

// Buffered is how many events wait for followers.
func (f *Feed) Buffered() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.interests.followers {
		n += len(w.events)
	}
	return n
}
