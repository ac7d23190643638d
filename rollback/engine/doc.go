// Package engine carries out what package rollback decides. A webhook's alerts go through
// the files in this order:
//
//	admit.go      refuses alerts that must not lead to anything
//	accept.go     reads the releases that the others are about; batch.go is the result
//	store.go      stores their signals in the record of the newest revision, with a decision
//	fastpath.go   sheds right after the decision, with the facts that were read meanwhile
//	queue.go      which release is worked on when
//	reconcile.go  takes a record's steps one by one; each is resumable
//	  preflight.go  finds out what the rollback would do
//	  shed.go       sets the canary's weight to zero
//	  rollback.go   rolls back with Helm; recover.go continues an interrupted rollback
//	  restore.go    gives the canary the target's weight, once its pods are ready
//	  targetzero.go holds a canary that runs the suspect's pods at zero, in place of that
//	  verify.go     finds out whether the rollback helped
//	  hold.go       keeps the weight at zero until the content changes or an operator lifts it
//	  undo.go       takes back a shed for an alert that Prometheus does not confirm
//	  prune.go      deletes old records
//
// The steps are methods of the executor (executor.go), which knows neither the queue
// nor the webhook. They share
//
//	inputs.go     reads the facts, asks Prometheus and observes the routes
//	update.go     changes a stored record that other clients may write too
//	attempt.go    logs and measures an attempt
//	obstacle.go   stores an error outside of a step in the record, so that the team learns of it
//	reopened.go   keeps a held weight at zero, and finds out who gave the canary a weight
//	watches.go    watches the held routes
//	returns.go    remembers which known bad content may come back while its alert goes on firing;
//	              returned.go notices that it does
//	leftovers.go  compares the marks on routes with the open records
//	straymarks.go  the same for marks whose release is gone; straymarks_seen.go has what was seen of them
//	storm.go      remembers the releases that have alerts at the same time, and their queue
//	metrics.go    the metrics
//
// manual.go does the same on the order of an operator, without a running engine;
// dryrun.go says what the engine would do now. engine.go wires the parts.
package engine
