{{/* The prefix of every object's name. 52 characters leave room for the suffixes. */}}
{{- define "backout.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select backout's pods. They must never change: a Deployment's selector is immutable. */}}
{{- define "backout.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "backout.labels" -}}
{{ include "backout.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Labels of an object for the Prometheus Operator: the common ones, then the object's own, as "own". */}}
{{- define "backout.monitoringLabels" -}}
{{- mergeOverwrite (dict) (include "backout.labels" .root | fromYaml) .root.Values.monitoringLabels .own | toYaml -}}
{{- end -}}

{{- define "backout.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ printf "%s@%s" .repository .digest }}
{{- else -}}
{{ printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "backout.serviceAccount" -}}
{{- default (ternary (include "backout.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "backout.tokenSecret" -}}
{{- default (printf "%s-token" (include "backout.fullname" .)) .Values.auth.existingSecret -}}
{{- end -}}

{{/* A duration such as 1h30m, in whole seconds. */}}
{{- define "backout.seconds" -}}
{{- $seconds := 0 -}}
{{- range $unit, $worth := dict "h" 3600 "m" 60 "s" 1 -}}
{{- $seconds = regexFind (printf "[0-9]+%s" $unit) $ | trimSuffix $unit | default "0" | int | mul $worth | add $seconds -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}

{{/* Seconds to finish the work in progress: longer than the longest hook of a rollback. */}}
{{- define "backout.grace" -}}
{{- with .Values.config -}}
{{- if .grace -}}
{{ include "backout.seconds" .grace }}
{{- else -}}
{{ add (include "backout.seconds" .rollbackTimeout | int) 30 }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The namespaces of the targets, as a JSON list. It fails if one occurs twice. */}}
{{- define "backout.namespaces" -}}
{{- $seen := list -}}
{{- range .Values.targets -}}
{{- if has .namespace $seen -}}
{{- fail (printf "targets: namespace %s occurs twice; put its releases into one entry" .namespace) -}}
{{- end -}}
{{- $seen = append $seen .namespace -}}
{{- end -}}
{{- toJson $seen -}}
{{- end -}}

{{/* The namespaces of the AlertmanagerConfigs, as a JSON list. */}}
{{- define "backout.routedNamespaces" -}}
{{- $here := list -}}
{{- if and .Values.alertmanagerConfig.enabled (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1alpha1/AlertmanagerConfig") -}}
{{- if .Values.alertmanagerConfig.namespace -}}
{{- $here = list .Values.alertmanagerConfig.namespace -}}
{{- else -}}
{{- $here = include "backout.namespaces" . | fromJsonArray -}}
{{- end -}}
{{- end -}}
{{- toJson $here -}}
{{- end -}}

{{- define "backout.releases" -}}
{{- $entries := list -}}
{{- range $target := .Values.targets -}}
{{- range $target.releases -}}
{{- $entries = append $entries (printf "%s/%s" $target.namespace .) -}}
{{- end -}}
{{- end -}}
{{- join "," $entries -}}
{{- end -}}

{{- define "backout.scheme" -}}
{{ ternary "https" "http" (not (empty .Values.tls.secretName)) }}
{{- end -}}

{{/* URL of the webhook's Service, without a path. */}}
{{- define "backout.webhookURL" -}}
{{ printf "%s://%s.%s.svc:%d" (include "backout.scheme" .) (include "backout.fullname" .) .Release.Namespace (int .Values.service.port) }}
{{- end -}}
