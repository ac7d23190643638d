package ledger

import "github.com/upcommerce/backout/rollback"

func (c *recordCache) use(namespace string, size int) {
	if c.used == nil {
		c.used = make(map[string]int)
	}
	if c.used[namespace] += size; c.used[namespace] == 0 {
		delete(c.used, namespace)
	}
}

// makeRoom reports whether there is room for a text of a namespace. For one that takes less
// than another, it drops texts of that one.
func (c *recordCache) makeRoom(namespace string, size int) bool {
	for c.size+size > cacheSize {
		largest := namespace
		for other, used := range c.used {
			if used > c.used[largest] {
				largest = other
			}
		}
		if largest == namespace || c.used[namespace]+size > c.used[largest] {
			return false
		}
		c.evict(largest)
	}
	return true
}

// evict drops the longest text of a namespace.
func (c *recordCache) evict(namespace string) {
	var longest rollback.Key
	var name string
	for k, records := range c.records {
		for n, r := range records {
			if k.Namespace == namespace && (name == "" || len(r.text) > len(c.records[longest][name].text)) {
				longest, name = k, n
			}
		}
	}
	r := c.records[longest][name]
	c.size -= len(r.text)
	c.use(namespace, -len(r.text))
	r.text, r.fits = "", false
	c.records[longest][name] = r
}
