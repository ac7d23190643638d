package kubelet

import (
	"context"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
)

// payload is the content of a volume: files by relative path.
type payload map[string]content

type content struct {
	data []byte
	mode int32
}

// payload returns the content of a volume. known is false for volumes that do not show objects.
func (v *volumes) payload(ctx context.Context, volume corev1.Volume) (p payload, known bool, err error) {
	p = payload{}
	switch {
	case volume.ConfigMap != nil:
		s := volume.ConfigMap
		err = v.addObject(ctx, p, objectKey{"configmaps", s.Name}, selection{s.Items, s.DefaultMode, s.Optional})
	case volume.Secret != nil:
		s := volume.Secret
		err = v.addObject(ctx, p, objectKey{"secrets", s.SecretName}, selection{s.Items, s.DefaultMode, s.Optional})
	case volume.DownwardAPI != nil:
		err = v.addFields(p, volume.DownwardAPI.Items, volume.DownwardAPI.DefaultMode)
	case volume.Projected != nil:
		for _, source := range volume.Projected.Sources {
			if err := v.addProjection(ctx, p, volume, source); err != nil {
				return nil, true, err
			}
		}
	default:
		return nil, false, nil
	}
	return p, true, err
}

func (v *volumes) addProjection(ctx context.Context, p payload, volume corev1.Volume, source corev1.VolumeProjection) error {
	mode := volume.Projected.DefaultMode
	switch {
	case source.ConfigMap != nil:
		s := source.ConfigMap
		return v.addObject(ctx, p, objectKey{"configmaps", s.Name}, selection{s.Items, mode, s.Optional})
	case source.Secret != nil:
		s := source.Secret
		return v.addObject(ctx, p, objectKey{"secrets", s.Name}, selection{s.Items, mode, s.Optional})
	case source.DownwardAPI != nil:
		return v.addFields(p, source.DownwardAPI.Items, mode)
	case source.ServiceAccountToken != nil:
		t, err := v.token(ctx, volume.Name, source.ServiceAccountToken)
		if err != nil {
			return err
		}
		p[source.ServiceAccountToken.Path] = content{data: []byte(t), mode: modeOr(nil, mode)}
		return nil
	default:
		return fmt.Errorf("the sandbox does not support this projection: use configMap, secret, downwardAPI or serviceAccountToken")
	}
}

// selection selects the entries of an object that a volume shows.
type selection struct {
	items    []corev1.KeyToPath
	mode     *int32
	optional *bool
}

// addObject adds entries of a ConfigMap or Secret, which is watched from now on.
func (v *volumes) addObject(ctx context.Context, p payload, key objectKey, s selection) error {
	data, found, err := v.objects.get(ctx, key)
	if err != nil {
		return err
	}
	if !found && isTrue(s.optional) {
		return nil
	}
	if !found {
		return fmt.Errorf("%s %q not found", key.kind[:len(key.kind)-1], key.name)
	}
	if s.items == nil {
		for name, value := range data {
			p[name] = content{data: value, mode: modeOr(nil, s.mode)}
		}
		return nil
	}
	for _, item := range s.items {
		value, found := data[item.Key]
		if !found && isTrue(s.optional) {
			continue
		}
		if !found {
			return fmt.Errorf("references non-existent config key: %s", item.Key)
		}
		p[filepath.Clean(item.Path)] = content{data: value, mode: modeOr(item.Mode, s.mode)}
	}
	return nil
}

func (v *volumes) addFields(p payload, items []corev1.DownwardAPIVolumeFile, mode *int32) error {
	for _, item := range items {
		if item.FieldRef == nil {
			return fmt.Errorf("the sandbox does not support resourceFieldRef in volumes; use one in env")
		}
		value, err := v.pod.field(item.FieldRef.FieldPath)
		if err != nil {
			return err
		}
		p[filepath.Clean(item.Path)] = content{data: []byte(value), mode: modeOr(item.Mode, mode)}
	}
	return nil
}

// modeOr returns the first mode that is set.
func modeOr(mode, otherwise *int32) int32 {
	switch {
	case mode != nil:
		return *mode
	case otherwise != nil:
		return *otherwise
	default:
		return corev1.ConfigMapVolumeSourceDefaultMode
	}
}
