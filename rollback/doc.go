// Package rollback is the domain of backout: what an alert accuses, what is
// decided about it, and the steps that follow.
//
// An alert goes through the files in this order:
//
//	alert.go    labels become an Accusation of one release
//	policy.go   which releases may be touched at all, and every limit
//	history.go  what Helm knows about the release's revisions
//	target.go   the revision to go back to
//	decide.go   Decide: facts in, Decision out; pure
//	weigh.go      is the accused revision to blame
//	permit.go     how much may be done to it
//	argocd.go     is it Argo CD's
//	storm.go      are many releases accused at once
//	grounds.go    what was asked and found, for people
//	verdict.go  the closed set of words for why
//	record.go   what is stored about one accused revision; summary.go tells it in a line
//	accuse.go     its accusations, a bounded number of episodes
//	step.go       one action on the cluster, as far as it has come
//	engine.go   one worker per release, one leader of all replicas
//	queue.go      which release is worked on when
//	amend.go      changes a stored record, whoever else writes it
//	admit.go    refuses what may not be touched
//	glance.go   what is at hand when an alert comes, and its confirmation
//	accept.go   stores what is accused, before anything is done about it
//	steps.go    walks a record's steps; each is resumable
//	attempt.go  one attempt at a step, and when the next one is due
//	judge.go    reads the facts and has Decide decide on them
//	urgent.go   the shed right after its decision, on what was read meanwhile
//	shed.go     the canary's weight to zero
//	back.go     the Helm rollback
//	raise.go    the target's weight, once its pods are ready
//	verify.go   did it help
//	hold.go     zero stays, until other content or a person comes
//	prune.go    old records go
//	told.go     what people were told about a record
//	hand.go     the same by a person's order
//
// Beside that way stands what only looks:
//
//	state.go    how far a record has come, and its moments
//	explain.go  a record told to people; facts.go has the single lines
//	board.go    every record at a glance, releases under guard, refusals
//	metrics.go  what is counted; gauges.go has what is read off the board
//	foresee.go  what an alert would lead to now
//
// The package needs only the standard library and client_golang. Helm,
// Kubernetes and the routers stand behind the interfaces of ports.go; their
// packages lie below this one and import it, never the reverse.
//
// Log keys, a closed list for the whole program: namespace, release, revision,
// target, verdict, step, alert, reason, count, weights, attempt, duration, channel, error;
// and, at the start, address, ops, policy, prometheus, http, notify.
package rollback
