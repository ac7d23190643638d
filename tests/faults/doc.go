// Package faults breaks backout on purpose, on a real control plane, and checks
// that the release ends where it would have ended: backout is killed, frozen and
// cut off, its writes meet conflicts, and people change the release meanwhile.
//
//	kinds.go       the faults
//	people.go      the faults that are other people's, and other clocks
//	trial.go       one trial: a shop, a bad canary, an alert, a fault
//	shop.go        the storefront of one trial, and its shoppers
//	doors.go       what the processes of a trial are told
//	replica.go     a backout process that is started again whenever it ends
//	proxy.go       the way to the API server, which breaks at a chosen write
//	poster.go      an Alertmanager, as far as backout can tell
//	eyes.go        what any client of the API server sees
//	revisions.go   what Helm stores
//	judge.go       waits for the end of a trial and gathers the facts
//	invariants.go  what has to be true then
//	live.go        what is live, compared with what a revision declares
//	journal.go     what happened, for whoever looks for the reason
//	table.go       what became of all trials
//
// TestFaults reads these variables:
//
//	FAULTS=all      everything; without it, a sample of ten
//	FAULTS_SEED     chooses the instants and the sample; 1 if unset
//	FAULTS_ONLY     a regular expression for the trials, as "kind, name"
//	FAULTS_WIDTH    how many trials go on side by side; 6 if unset
//	FAULTS_BACKOUT  the path of another build of backout
package faults
