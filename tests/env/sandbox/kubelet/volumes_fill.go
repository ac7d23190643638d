package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/upcommerce/backout/tests/env/sandbox/kubelet/cell"
)

// volumeRetry is how often volumes are retried that lack something without a watch.
const volumeRetry = time.Second

// setUp fills the volumes. It retries until all their sources exist, or life ends.
func (v *volumes) setUp(life context.Context) bool {
	reported := ""
	for life.Err() == nil {
		err := errors.Join(v.files(), v.fill(life))
		if err == nil {
			return true
		}
		if reported != err.Error() && life.Err() == nil {
			reported = err.Error()
			v.pod.event(corev1.EventTypeWarning, "FailedMount", reported)
		}
		select {
		case <-life.Done():
		case <-v.objects.changed:
		case <-time.After(volumeRetry):
		}
	}
	return false
}

// keep fills the volumes again whenever one of their sources has changed, until life ends.
func (v *volumes) keep(life context.Context) {
	for {
		var due <-chan time.Time
		if at := v.nextToken(); !at.IsZero() {
			due = time.After(time.Until(at))
		}
		select {
		case <-life.Done():
			return
		case <-v.objects.changed:
		case <-due:
		}
		// The content of a deleted source stays in the volume, as with any kubelet.
		if err := v.fill(life); err != nil {
			v.pod.kubelet.warn(life, v.pod.object.Load(), err)
			pause(life, volumeRetry)
		}
	}
}

func (v *volumes) dir(name string) string { return filepath.Join(v.pod.dir, "volumes", name) }

// fill updates every volume.
func (v *volumes) fill(ctx context.Context) error {
	var errs []error
	for _, volume := range v.pod.object.Load().Spec.Volumes {
		if err := v.fillOne(ctx, volume); err != nil {
			errs = append(errs, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", volume.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (v *volumes) fillOne(ctx context.Context, volume corev1.Volume) error {
	dir := v.dir(volume.Name)
	switch {
	case volume.EmptyDir != nil:
		return os.MkdirAll(dir, 0o777) //nolint:gosec // an emptyDir is for every container and user of the pod
	case volume.HostPath != nil:
		if _, err := os.Stat(volume.HostPath.Path); err != nil {
			return fmt.Errorf("hostPath: %w", err)
		}
		return nil
	}
	p, known, err := v.payload(ctx, volume)
	if err != nil {
		return err
	}
	if !known {
		return errors.New("the sandbox does not support this kind of volume: use configMap, secret, downwardAPI, projected, emptyDir or hostPath")
	}
	return p.show(dir)
}

// mounts returns the container's mounts: its volumes and the files that every container gets from a kubelet.
func (c *container) mounts() ([]cell.Mount, error) {
	mounts := []cell.Mount{
		{Source: filepath.Join(c.pod.dir, "hosts"), Target: "/etc/hosts"},
		{Source: filepath.Join(c.pod.dir, "resolv.conf"), Target: "/etc/resolv.conf"},
	}
	byName := map[string]corev1.Volume{}
	for _, volume := range c.pod.object.Load().Spec.Volumes {
		byName[volume.Name] = volume
	}
	for _, m := range c.spec.VolumeMounts {
		if m.SubPathExpr != "" {
			return nil, fmt.Errorf("mount volume %s: the sandbox does not support subPathExpr; use subPath", m.Name)
		}
		volume := byName[m.Name]
		source := c.pod.volumes.dir(m.Name)
		if volume.HostPath != nil {
			source = volume.HostPath.Path
		}
		writable := volume.EmptyDir != nil || volume.HostPath != nil
		if m.SubPath != "" {
			var err error
			if source, err = subPath(source, m.SubPath); err != nil {
				return nil, err
			}
		}
		mounts = append(mounts, cell.Mount{Source: source, Target: filepath.Join("/", m.MountPath), ReadOnly: m.ReadOnly || !writable})
	}
	return mounts, nil
}

// subPath returns the path of a file or directory in a volume, and makes a directory if it does not exist. A path that leads
// out of the volume is an error.
func subPath(volume, sub string) (string, error) {
	if !filepath.IsLocal(sub) {
		return "", fmt.Errorf("mount subPath %s: it leads out of its volume", sub)
	}
	path := filepath.Join(volume, sub)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(path, 0o750); err != nil {
			return "", fmt.Errorf("make subPath %s: %w", sub, err)
		}
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("find subPath %s: %w", sub, err)
	}
	return resolved, nil
}

// files writes the files that every container gets. Names of Services do not resolve; a lookup fails at once.
func (v *volumes) files() error {
	object := v.pod.object.Load()
	hosts := []string{
		"127.0.0.1\tlocalhost", "::1\tlocalhost",
		v.pod.network.Address.String() + "\t" + hostname(object),
		v.pod.kubelet.APIServer + "\tkubernetes.default.svc kubernetes.default kubernetes",
	}
	for _, alias := range object.Spec.HostAliases {
		hosts = append(hosts, alias.IP+"\t"+strings.Join(alias.Hostnames, " "))
	}
	write := func(name, text string) error {
		return os.WriteFile(filepath.Join(v.pod.dir, name), []byte(text), 0o644) //nolint:gosec // for every user of the pod
	}
	err := os.MkdirAll(v.pod.dir, 0o750)
	if err == nil {
		err = errors.Join(write("hosts", strings.Join(hosts, "\n")+"\n"), write("resolv.conf", "nameserver 127.0.0.1\n"))
	}
	if err != nil {
		return fmt.Errorf("write the files of a pod: %w", err)
	}
	return nil
}
