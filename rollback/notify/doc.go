// Package notify delivers what package report says about records. It works in parallel
// to the engine: no step waits for it.
//
//	notifier.go  takes records, with one worker for each channel; open.go opens the channels
//	pending.go   the records that are kept in memory, and what each channel has sent of them
//	deliver.go   one delivery: deadline, retries, what is given up
//	storm.go     many records at once become one message
//	save.go      what was sent is stored in the record
//	channel.go   a channel; each has a file:
//	  slack_webhook.go, slack_bot.go, alertmanager.go, webhook.go, events.go
//	slack.go     a report as Slack blocks
//	post.go      HTTP, and errors without secrets
//
// Texts of alerts come from other systems: they are shown, and never become part of a
// command, of markup, or of an address.
package notify
