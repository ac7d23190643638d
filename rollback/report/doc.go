// Package report describes a record in one way for every reader: the status page,
// the commands, the metrics, Slack, Alertmanager, the generic webhook and Kubernetes
// Events.
//
//	state.go       how far a record has come, in one word, and whether it needs help
//	stuck.go       which step keeps failing
//	commands.go    the commands that an operator may run now
//	title.go, headline.go, advice.go
//	               the record and what to do about it, in a sentence each
//	verdicts.go    what a verdict means
//	milestones.go  when the record reached each milestone
//	timeline.go    the course of the record, entry by entry; entries.go builds the entries
//	report.go      Of: the Report of a record, which package notify delivers; message.go as plain text
//	storm.go       OfStorm: one Report about many records
//	explain.go     Explain: the Explanation of a record; sections.go has its parts, render.go prints it
//	summary.go     a record in one line
//	dryrun.go      the result of a dry run, printed
//	board.go       every record as a row, opted-in releases, refusals; row.go is one row
//	collector.go   the metrics that are read from the board
//
// Everything but the board and its collector is pure: the same record always gives
// the same text. The package decides nothing and writes nothing to the cluster. Texts of
// alerts come from other systems: they are shown, and never become part of a command,
// of markup or of an address.
package report
