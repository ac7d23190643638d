package kubelet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// environment is a container's environment variables, by name.
type environment map[string]string

// list returns the environment as a program receives it.
func (e environment) list() []string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(e)) {
		pairs = append(pairs, name+"="+e[name])
	}
	return pairs
}

// environment returns a container's environment. Its errors become the messages of a CreateContainerConfigError.
func (c *container) environment(ctx context.Context) (environment, error) {
	k := c.pod.kubelet
	env := environment{
		"PATH":                          "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME":                          "/root",
		"HOSTNAME":                      hostname(c.pod.object.Load()),
		"KUBERNETES_SERVICE_HOST":       k.APIServer,
		"KUBERNETES_SERVICE_PORT":       "443",
		"KUBERNETES_SERVICE_PORT_HTTPS": "443",
		"KUBERNETES_PORT":               "tcp://" + k.APIServer + ":443",
	}
	source := sources{pod: c.pod}
	for _, from := range c.spec.EnvFrom {
		if err := source.addAll(ctx, env, from); err != nil {
			return nil, err
		}
	}
	for _, v := range c.spec.Env {
		value, found, err := source.value(ctx, c.spec, v, env)
		if err != nil {
			return nil, err
		}
		if found {
			env[v.Name] = value
		}
	}
	return env, nil
}

// sources reads the sources of variables.
type sources struct{ pod *pod }

// addAll adds the entries of a ConfigMap or Secret.
func (s sources) addAll(ctx context.Context, env environment, from corev1.EnvFromSource) error {
	var values map[string]string
	var err error
	switch {
	case from.ConfigMapRef != nil:
		values, err = s.configMap(ctx, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
	case from.SecretRef != nil:
		values, err = s.secret(ctx, from.SecretRef.Name, from.SecretRef.Optional)
	}
	for name, value := range values {
		env[from.Prefix+name] = value
	}
	return err
}

// value returns a variable's value, and whether it has one.
func (s sources) value(ctx context.Context, c *corev1.Container, v corev1.EnvVar, env environment) (value string, found bool, err error) {
	from := v.ValueFrom
	switch {
	case from == nil:
		return expand(v.Value, env), true, nil
	case from.FieldRef != nil:
		value, err = s.pod.field(from.FieldRef.FieldPath)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err = resourceField(c, from.ResourceFieldRef)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		values, err := s.configMap(ctx, r.Name, r.Optional)
		return pick(values, r.Key, r.Optional, err, "ConfigMap "+s.pod.object.Load().Namespace+"/"+r.Name)
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		values, err := s.secret(ctx, r.Name, r.Optional)
		return pick(values, r.Key, r.Optional, err, "Secret "+s.pod.object.Load().Namespace+"/"+r.Name)
	default:
		return "", false, fmt.Errorf("variable %s: this kubelet does not support its valueFrom", v.Name)
	}
}

// pick returns one value of an object.
func pick(values map[string]string, key string, optional *bool, err error, object string) (string, bool, error) {
	if err != nil {
		return "", false, err
	}
	value, found := values[key]
	if !found && !isTrue(optional) {
		return "", false, fmt.Errorf("couldn't find key %s in %s", key, object)
	}
	return value, found, nil
}

func (s sources) configMap(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	m, err := s.pod.kubelet.Client.CoreV1().ConfigMaps(s.pod.object.Load().Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && isTrue(optional) {
		return nil, nil
	}
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("configmap %q not found", name)
	}
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

func (s sources) secret(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	o, err := s.pod.kubelet.Client.CoreV1().Secrets(s.pod.object.Load().Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && isTrue(optional) {
		return nil, nil
	}
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("secret %q not found", name)
	}
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for name, value := range o.Data {
		values[name] = string(value)
	}
	return values, nil
}

func isTrue(b *bool) bool { return b != nil && *b }

// expandAll replaces $(NAME) in each text.
func expandAll(texts []string, env environment) []string {
	expanded := make([]string, len(texts))
	for i, t := range texts {
		expanded[i] = expand(t, env)
	}
	return expanded
}

// expand replaces $(NAME) by the variable's value. The reference stays as it is if the variable does not exist, and $$ is a $.
func expand(text string, env environment) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, rest, closed := strings.Cut(strings.TrimPrefix(after, "("), ")")
		value, known := env[name]
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteString("$")
			text = after[1:]
		case strings.HasPrefix(after, "(") && closed && known:
			b.WriteString(value)
			text = rest
		default:
			b.WriteString("$")
			text = after
		}
	}
}
