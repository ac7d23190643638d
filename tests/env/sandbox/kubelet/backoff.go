package kubelet

import "time"

// BackOff is the delay between restarts of a container and between attempts to pull its image. The first restart is immediate.
type BackOff struct {
	// Initial is the time before the second restart; it doubles with each, up to Max. After a container has lived for twice
	// Max, its next restart is immediate again.
	Initial, Max time.Duration
}

// DefaultBackOff is a tenth of a kubelet's initial delay, and much less than its maximum, because tests wait for restarts.
func DefaultBackOff() BackOff { return BackOff{Initial: time.Second, Max: 20 * time.Second} }

// delays counts one container's failures.
type delays struct {
	pace BackOff
	next time.Duration
}

// afterPull returns the time to wait after an image could not be pulled.
func (d *delays) afterPull() time.Duration {
	d.next = min(max(2*d.next, d.pace.Initial), d.pace.Max)
	return d.next
}

// afterRun returns the time to wait after a container that lived this long; 0 after its first end.
func (d *delays) afterRun(lived time.Duration) time.Duration {
	if lived > 2*d.pace.Max {
		d.next = 0
	}
	wait := d.next
	d.next = min(max(2*d.next, d.pace.Initial), d.pace.Max)
	return wait
}
