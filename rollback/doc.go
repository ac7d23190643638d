// Package rollback is the domain of backout: alerts, the facts about a release, the
// decision that follows from them, and the record of the steps. It is pure: it contains no
// goroutine, no clock, no I/O, no logging and no metrics, and it imports only the standard
// library.
//
// An alert passes the files in this order:
//
//	alert.go         the labels of an alert select a release and a level
//	signal.go        a Signal is one episode of the alert, or an operator's order
//	confirmation.go  what Prometheus answers about the alert
//	policy.go        which releases backout may change, and every limit
//	refuse.go        alerts that lead to no decision, and why
//	history.go       the release's revisions, as Helm stores them
//	target.go        the revision to roll back to
//	knownbad.go      the content that is not gone back to, and when that ends
//	case.go          a Case is everything that a decision depends on
//	decide.go        Decide turns a Case into a Decision
//	  assess.go        whether a signal is about the newest revision
//	  assess_content.go  since when its content is deployed, and which versions name it
//	  returned.go      whether a signal is about known bad content that is back
//	  evidence.go      whether its window has requests of an earlier revision
//	  late.go          whether a signal that had to wait still fires
//	  storm.go         whether many releases have signals
//	  storm_queue.go   the queue of their rollbacks afterwards
//	  limit.go         how much backout may do about it
//	  tracing.go       adds checks to the trace; trace.go has the types
//	verdict.go       the closed set of words for why backout acts or does not
//	decision.go      the result of Decide
//	record.go        a Record is what backout stores about one suspect revision
//	  record_signals.go  its signals, a bounded number of episodes
//	  record_steps.go    how far its steps are
//	  record_text.go     how a stored one is read, and shown, without trust in its texts
//	  record_reduced.go  what is left out of one that is too large
//	step.go          one action on the cluster, with its attempts
//	hold.go          the weight stays zero although nothing is rolled back
//	weight.go        the canary's share on one route
//	notified.go      what each channel has sent about a record
//	retention.go     which records may be deleted
//
// The steps and the ports work with:
//
//	plan.go          one rollback with its revisions, and the result of its preflight
//	hook.go          the upgrade hooks of a revision, and whether they ran
//	danger.go        the reasons not to roll back automatically
//	owner.go         another tool that manages the release; owner_detect.go finds it
//	storage.go       where Helm stores the revisions: Secrets or ConfigMaps
//	manifest.go      the objects of a revision, and the workloads among them
//	track.go         which workloads are the canary's, and why
//	  track_label.go      the configured label and its values
//	  track_manifest.go   what a manifest says about that
//	  track_shifted.go    what Flagger and Argo Rollouts say
//	  track_confirmed.go  names and labels that a route or a pair of Services confirms
//	routing.go       the canary's live traffic
//	command.go       commands for operators
//	  command_forms.go   every form that one can have, and which names
//	  command_words.go   quoting for a shell, and back
//	  command_storage.go the same for a release in ConfigMaps
//	  command_track.go   the same for a canary with another label
//	text.go          texts without control characters, of bounded length
//	json.go          the structure of a JSON text that is not decoded yet
//	ports.go         the interfaces to Helm, the routers, Prometheus, the ledger and the notifier
//	dryrun.go        what the engine would do about an alert now
//	refusal.go       counts refused alerts; lines.go bounds the log lines about them
//
// To shed a canary is to set its weight to zero on the live routes. It takes milliseconds
// and can be undone, so it comes before the rollback.
//
// Package engine carries the decisions out, and package report describes the records to
// operators. Both import this package, and so do the packages that implement the ports:
// helm, traffic, prom, ledger and notify. It imports none of them.
//
// Log keys, a closed list for the whole program: namespace, release, revision,
// target, verdict, step, alert, reason, count, weights, attempt, duration, channel, peer,
// code, error; and, at the start, address, ops, policy, prometheus, grafana, http, notify.
package rollback
