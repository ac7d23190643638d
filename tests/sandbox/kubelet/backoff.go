package kubelet

import "time"

// BackOff paces restarts of a container and attempts to pull its image. The first restart is made at once.
type BackOff struct {
	// Initial is the time before the second restart; it doubles with each, up to Max. A container that has lived for twice
	// Max starts anew.
	Initial, Max time.Duration
}

// DefaultBackOff is a tenth of a kubelet's for the second restart, and much less for the last, because people wait.
func DefaultBackOff() BackOff { return BackOff{Initial: time.Second, Max: 20 * time.Second} }

// delays counts one container's failures.
type delays struct {
	pace BackOff
	next time.Duration
}

// afterPull is the time to wait after an image could not be pulled.
func (d *delays) afterPull() time.Duration {
	d.next = min(max(2*d.next, d.pace.Initial), d.pace.Max)
	return d.next
}

// afterRun is the time to wait after a container that has lived so long; 0 after its first end.
func (d *delays) afterRun(lived time.Duration) time.Duration {
	if lived > 2*d.pace.Max {
		d.next = 0
	}
	wait := d.next
	d.next = min(max(2*d.next, d.pace.Initial), d.pace.Max)
	return wait
}
