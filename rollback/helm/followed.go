package helm

import (
	"github.com/upcommerce/backout/rollback"
)

// Followed returns what Follow's watch has delivered of a release's revisions, newest first,
// without a request: their number, UID, status and claim, and when the API server stored them,
// in whole seconds. It returns none if the watch does not cover the release, or
// if two storages have it.
func (c *Client) Followed(k rollback.Key) []rollback.Revision {
	metas, _ := c.followed.metas(k)
	if inOneStorage(k, metas) != nil {
		return nil // in which of two it is, is not known, and each number has one series
	}
	all := make([]rollback.Revision, 0, len(metas))
	for _, m := range metas {
		all = append(all, rollback.Revision{Number: m.number, UID: m.uid, Status: m.status, Deployed: m.created, Claim: m.claim})
	}
	return all
}
