package rollback

import "time"

// Refusal counts the alerts about one release that were refused for one reason, without a
// record.
type Refusal struct {
	// Key is the release that the alert names, empty if the alert names none that can
	// exist.
	Key     `json:",inline"`
	Verdict Verdict   `json:"verdict"`
	Alert   string    `json:"alert,omitempty"`
	Reason  string    `json:"reason"`
	Count   int       `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}
