// Package notify tells people what backout did, and why. It works beside the
// engine: no step ever waits for it.
//
//	report.go   Of: a record becomes a Report; pure
//	story.go      what happened, line by line
//	state.go      where it stands now
//	words.go      the verdict in words
//	commands.go   what a person may run
//	teller.go   takes records, one worker per channel
//	desk.go     what is known, and what each channel was told of it
//	deliver.go  one delivery: deadline, back-off, what is given up
//	storm.go    many at once become one summary
//	told.go     what was told goes into the record
//	channel.go  what a channel is; one file for each:
//	  webhook_slack.go, bot_slack.go, alertmanager.go, webhook.go, events.go
//	text.go     a report as plain text, and the escaping
//	slack.go    a report as blocks
//	post.go     HTTP, and errors without secrets
//
// The texts of alerts are strangers' words: they are shown, and never become part
// of a command, of markup, or of an address.
package notify
