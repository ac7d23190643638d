// Package handler is the HTTP edge: it authenticates, bounds and decodes what
// Alertmanager posts and hands over plain alerts, and it offers health, metrics
// and records to read. It decides nothing.
//
// serveX functions map errors to status codes; what they call holds the logic.
package handler
