package helm

import (
	"fmt"

	"helm.sh/helm/v3/pkg/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/upcommerce/backout/rollback/parallel"
)

// repairs returns the objects that Helm's own merge would not turn into the target's, by
// objectID, with the change that does.
func (h *holdingClient) repairs(original, target kube.ResourceList) (map[string]change, error) {
	changes := make([]change, len(target))
	group := parallel.NewGroup()
	group.SetLimit(maxMetadataReads)
	for i, info := range target {
		group.Go(func() error {
			live, err := readLive(info)
			if err != nil || live == nil {
				return err
			}
			var compared runtime.Object = live
			if o := original.Get(info); o != nil {
				compared = o.Object
			}
			wanted, ok := info.Object.(*unstructured.Unstructured)
			if !ok {
				return nil
			}
			c, err := changeOf(info, compared, live, h.unfinished.declared(h.Namespace, wanted.Object))
			if err == nil { // else Helm reports it
				changes[i] = c
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	found := make(map[string]change)
	for i, c := range changes {
		if c.repaired {
			found[objectID(target[i])] = c
		}
	}
	return found, nil
}

// write has Helm write the objects in their order, but for those that have to be repaired.
func (h *holdingClient) write(original, target kube.ResourceList, helm func(original, target kube.ResourceList) (*kube.Result, error)) (*kube.Result, error) {
	repairs, err := h.repairs(original, target)
	if err != nil {
		return &kube.Result{}, err
	}
	all := &kube.Result{}
	add := func(r *kube.Result) {
		if r != nil {
			all.Created, all.Updated, all.Deleted = append(all.Created, r.Created...), append(all.Updated, r.Updated...), append(all.Deleted, r.Deleted...)
		}
	}
	deleted := original.Difference(target)
	var part kube.ResourceList
	for _, info := range target {
		c, repaired := repairs[objectID(info)]
		if !repaired {
			part = append(part, info)
			continue
		}
		if len(part) > 0 {
			r, err := helm(original.Intersect(part), part)
			if add(r); err != nil {
				return all, err
			}
			part = nil
		}
		if err := repair(info, c); err != nil {
			return all, err
		}
		all.Updated = append(all.Updated, info)
	}
	r, err := helm(append(original.Intersect(part), deleted...), part)
	add(r)
	return all, err
}

// repair sends the change as Helm sends its own.
func repair(info *resource.Info, c change) error {
	written, err := resource.NewHelper(info.Client, info.Mapping).WithFieldManager(fieldManager).Patch(info.Namespace, info.Name, c.kind, c.patch, nil)
	if err != nil {
		return fmt.Errorf("patch %s: %w", info.ObjectName(), err)
	}
	return info.Refresh(written, true)
}
