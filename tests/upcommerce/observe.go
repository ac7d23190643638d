package upcommerce

import "fmt"

// observe writes down what was noticed. The sentences are a person's; every number
// in them is this run's.
func (r *run) observe() {
	unexpected := []string{
		fmt.Sprintf("Of %d requests, the original test's number, %d came from the canary: %.0f%%. A fair split of 80:20 gives anything from 1 to 7 of them in 19 of 20 runs, so the split above is measured over %d.",
			original, r.share, 100*float64(r.share)/original, measured),
		fmt.Sprintf("helm rollback --wait by hand failed %d requests: the Deployment keeps v3's pod until v2's is ready. But all that time v3 went on serving its %d%%, and so it would if it were bad.", r.byHand, percent),
	}
	for _, b := range r.automatic {
		unexpected = append(unexpected, fmt.Sprintf("Of %s, shoppers met %d bad pages of %d before its weight was zero, %.1f s after the first.", b.what, b.spoiled, b.requests, b.zero.Seconds()))
	}
	r.answers.put("observations.unexpected_behaviors", unexpected, "written by a person; the numbers are this run's")
	r.answers.put("observations.suggested_improvements", []string{
		"Roll back to a revision by its number. Without one helm takes the revision before, whatever state that was in.",
		"Take the canary out of the traffic first and roll back second: the first takes milliseconds, the second waits for pods.",
		"Count requests with their status code. The original counter had no such label, so its own query for the error budget could find nothing.",
		"Create every series of a counter at the start: one that is born at 1 loses its first increment in rate().",
		"Leave a retired router in time: ingress-nginx has had its last release, and the same chart runs on the Gateway API with routing=gateway.",
	}, "written by a person")
}
