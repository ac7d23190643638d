package exercise

// The conditions of the measurement. NoImage is a tag that no registry has, and
// ReadySeconds is how long a pod may take to get ready, instead of the shipped rules' 300.
const (
	NoImage      = "v9"
	ReadySeconds = 30
	conditions   = "Scrapes and evaluations every second; 40 requests per second, a fifth of them to the canary; ready_seconds is 30 instead of 300."
)

// Seconds is the measurement of one bad canary. All numbers but the counts are seconds
// from the first bad request, or without one, from the upgrade to the canary.
type Seconds struct {
	Fault string `yaml:"fault"`
	Alert string `yaml:"alert"`
	// From is the event from which the seconds are counted.
	From       string  `yaml:"counted_from"`
	Firing     float64 `yaml:"alert_firing"`
	Zero       float64 `yaml:"weight_zero"`
	RolledBack float64 `yaml:"rolled_back"`
	// Last is when the last bad request ended.
	Last     float64 `yaml:"last_bad_request"`
	Bad      int     `yaml:"bad_requests"`
	Requests int     `yaml:"requests"`
}
