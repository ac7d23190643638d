// Package chaos breaks backout on purpose, on a real control plane, and checks
// that the release ends as it would have ended without the fault: backout is
// killed, frozen and cut off, its writes meet conflicts, and an operator changes
// the release meanwhile.
//
//	kinds.go       the faults
//	operator.go    the faults that operators and other clients cause, and wrong clocks
//	trial.go       one trial: a shop, a bad canary, an alert, a fault
//	shop.go        the storefront of one trial, and its shoppers
//	setup.go       sets the replicas up: link, kubeconfig, environment
//	replica.go     a backout process that is started again whenever it ends
//	proxy.go       connects the replicas to the API server, and breaks at a chosen write
//	poster.go      posts alerts as Alertmanager does
//	watcher.go     watches the namespace as any client of the API server can
//	revisions.go   the revisions that Helm stores
//	outcome.go     waits for the end of a trial and gathers the facts
//	invariants.go  the rules that every trial has to keep
//	manual.go      the faults of a rollback that an operator does with the command
//	command.go     the command, with the operator's rights and a proxy of its own
//	left.go        what a command that ends early leaves behind, and what backout does then
//	inbox.go       receives what backout sends to the team
//	live.go        compares live objects with the manifest of a revision
//	journal.go     writes a timeline, to find the cause of a failed trial
//	table.go       the results of all trials
//
// TestFaults reads these variables:
//
//	FAULTS=all      everything; without it, a sample of eleven
//	FAULTS_SEED     chooses the instants and the sample; 1 if unset
//	FAULTS_ONLY     a regular expression for the trials, as "kind, name"
//	FAULTS_WIDTH    how many trials run in parallel; 6 if unset
//	FAULTS_BACKOUT  the path of another build of backout
package chaos
