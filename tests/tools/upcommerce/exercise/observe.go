package exercise

import "fmt"

// observe adds the observations: fixed sentences with the numbers of this run.
func (r *run) observe() {
	unexpected := []string{
		fmt.Sprintf("Of %d requests, the number in the original test, %d reached the canary: %.0f%%. In a fair split of 80:20 it gets between 1 and 7 of them in 19 of 20 runs, so the split above is measured over %d.",
			original, r.share, 100*float64(r.share)/original, measured),
		fmt.Sprintf("The manual helm rollback --wait failed %d requests: the Deployment keeps v3's pod until v2's is ready. But until then v3 kept serving its %d%%, and a bad v3 would have done the same.", r.failedManually, percent),
	}
	for _, b := range r.automatic {
		unexpected = append(unexpected, fmt.Sprintf("Because of %s, shoppers got %d bad pages out of %d before its weight was zero, %.1f s after the first.", b.name, b.bad, b.requests, b.zero.Seconds()))
	}
	r.answers.put("observations.unexpected_behaviors", unexpected, "fixed sentences; the numbers are from this run")
	r.answers.put("observations.suggested_improvements", []string{
		"Roll back to a revision by its number. Without one, helm takes the previous revision, whatever state it was in.",
		"Take the canary out of rotation first and roll back second: the first takes milliseconds, the second waits for pods.",
		"Count requests with their status code. The original counter had no such label, so its own query for the error budget could find nothing.",
		"Create every series of a counter at the start: a series that begins at 1 loses its first increment in rate().",
		"Replace a retired router in time: ingress-nginx has had its last release, and the same chart runs on the Gateway API with routing=gateway.",
	}, "fixed sentences")
}
