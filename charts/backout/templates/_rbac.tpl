{{/* "true" if the cluster serves the API group .group. A namespace admin has no rights on other groups, and so cannot grant them. */}}
{{- define "backout.serves" -}}
{{- $served := eq .group "" -}}
{{- range .root.Capabilities.APIVersions -}}
{{- if hasPrefix (printf "%s/" $.group) . -}}
{{- $served = true -}}
{{- end -}}
{{- end -}}
{{- ternary "true" "" $served -}}
{{- end -}}

{{/* The routing kinds of every router, as JSON lists by router. */}}
{{- define "backout.knownRouters" -}}
ingress:
  - {group: networking.k8s.io, resources: [ingresses]}
gateway:
  - {group: gateway.networking.k8s.io, resources: [grpcroutes, httproutes, tcproutes, tlsroutes, udproutes]}
istio:
  - {group: networking.istio.io, resources: [virtualservices]}
traefik:
  - {group: traefik.io, resources: [ingressroutes, ingressroutetcps, traefikservices]}
  - {group: traefik.containo.us, resources: [ingressroutes, ingressroutetcps, traefikservices]}
contour:
  - {group: projectcontour.io, resources: [httpproxies]}
nginx:
  - {group: k8s.nginx.org, resources: [virtualserverroutes, virtualservers]}
openshift:
  - {group: route.openshift.io, resources: [routes]}
skipper:
  - {group: zalando.org, resources: [routegroups]}
service:
  - {group: apps, resources: [deployments]}
keda:
  - {group: keda.sh, resources: [scaledobjects]}
{{- end -}}

{{/* The kinds of the chosen routers that the cluster serves, as a JSON list. */}}
{{- define "backout.routes" -}}
{{- $routes := list -}}
{{- range $router, $kinds := include "backout.knownRouters" . | fromYaml -}}
{{- if or (empty $.Values.routers) (has $router $.Values.routers) -}}
{{- range $kinds -}}
{{- if include "backout.serves" (dict "root" $ "group" .group) -}}
{{- $routes = append $routes . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $routes -}}
{{- end -}}

{{/* Where Helm stores the releases, as a JSON list. Values that helm reuses from an earlier version of the chart lack it. */}}
{{- define "backout.helmDriver" -}}
{{- .Values.config.helmDriver | default (list "secret") | toJson -}}
{{- end -}}

{{/* The rights to decide, to record, and to take a canary out of rotation. */}}
{{- define "backout.shedRules" -}}
{{- if has "secret" (include "backout.helmDriver" . | fromJsonArray) -}}
# Helm's revisions.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{ end -}}
# backout's records and pauses{{ if has "configmap" (include "backout.helmDriver" . | fromJsonArray) }}, and Helm's revisions{{ end }}.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, update, delete]
# Which backend is the canary, and which others could take over.
- apiGroups: [""]
  resources: [services]
  verbs: [list]
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: {{ ternary "[list]" "[get, list]" (eq .Values.config.events false) }}
# Which pods are of which revision, for the metrics.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
{{- if ne .Values.config.events false }}
# Events about the workloads.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
{{- range include "backout.routes" . | fromJsonArray }}
# The canary's weight.
- apiGroups: [{{ .group }}]
  resources: {{ toJson .resources }}
  verbs: [get, list, watch, patch]
{{- if eq .group "networking.istio.io" }}
# The pods of a subset.
- apiGroups: [{{ .group }}]
  resources: [destinationrules]
  verbs: [list]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end }}
{{- end }}
{{- range $group, $resource := dict "flagger.app" "canaries" "argoproj.io" "rollouts" }}
{{- if include "backout.serves" (dict "root" $ "group" $group) }}
# Other controllers that set weights.
- apiGroups: [{{ $group }}]
  resources: [{{ $resource }}]
  verbs: [list]
{{- end }}
{{- end }}
{{- end -}}

{{/* The additional rights of Helm's rollback. */}}
{{- define "backout.rollbackRules" -}}
{{- if has "secret" (include "backout.helmDriver" . | fromJsonArray) -}}
# The revision that Helm creates, and the status of the others.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, update]
{{ end -}}
{{- if has "configmap" (include "backout.helmDriver" . | fromJsonArray) -}}
# The same in ConfigMaps. Records need `create` and `update` as well; backout rolls back only where it also has `patch`.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create, update, patch]
{{ end -}}
# Replicas that an autoscaler has added are kept.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
# The kinds that the releases' charts render.
{{- range include "backout.routes" . | fromJsonArray }}
{{- if ne .group "apps" }}
- apiGroups: [{{ .group }}]
  resources: {{ toJson .resources }}
  verbs: [create, delete]
{{- end }}
{{- if eq .group "networking.istio.io" }}
- apiGroups: [{{ .group }}]
  resources: [destinationrules]
  verbs: [get, create, patch, delete]
{{- end }}
{{- end }}
{{- range $kind := .Values.rbac.kinds }}
{{- range $group := $kind.apiGroups }}
{{- if include "backout.serves" (dict "root" $ "group" $group) }}
- apiGroups: [{{ $group | quote }}]
  resources: {{ toJson $kind.resources }}
  verbs: [get, create, patch, delete]
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.rbac.hooks }}
# Their rollback hooks, and the hooks' results.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
{{- end }}
{{- with .Values.rbac.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The service account as which backout works in the namespace of a target. It is in backout's own namespace. */}}
{{- define "backout.targetAccount" -}}
{{ include "backout.fullname" .root }}-target-{{ .namespace }}
{{- end -}}

{{/* The accounts of all targets, as BACKOUT_TARGET_ACCOUNTS. */}}
{{- define "backout.targetAccounts" -}}
{{- $accounts := list -}}
{{- range .Values.targets -}}
{{- $accounts = append $accounts (printf "%s:%s" .namespace (include "backout.targetAccount" (dict "root" $ "namespace" .namespace))) -}}
{{- end -}}
{{- join "," $accounts -}}
{{- end -}}
