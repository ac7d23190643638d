// Package handler is the HTTP edge. The webhook listener authenticates Alertmanager,
// bounds and decodes its payloads, and passes plain alerts to a Receiver. The read-only
// ops listener serves health, metrics, records and the status page. The package decides
// nothing.
//
//	server.go          both listeners
//	config.go          where and how they listen
//	webhook.go         POST /api/v1/alerts; payload.go decodes it, metrics.go counts it
//	bounds.go          the bounds of a payload; connections.go, those of a listener
//	refused.go         answers and logs the webhooks that are refused
//	auth.go, tls.go    who may post; file.go reads tokens and certificates again
//	ops.go             records as JSON, health; shared.go bounds the lists of all records,
//	                   reads.go the other reads
//	page.go            the status page; overview.go is its content
//	recordpage.go      the page of one record
//	state.go           colours, labels and glyphs of states
//	scale.go           the time axis; rowtimeline.go and recordtimeline.go draw on it
//	stream.go          server-sent events for open pages
//
// serveX functions map errors to status codes; the functions that they call have the
// logic.
package handler
