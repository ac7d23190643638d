{{/* The storefront's name: app.kubernetes.io/name of every object. */}}
{{- define "canary-demo.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 56 | trimSuffix "-" -}}
{{- end -}}

{{/*
The prefix of every object's name. 56 characters leave room for -canary in the 63 of a Service. A canary that is a release of
its own is named after the shop: the canary of shop-canary has the name that shop itself would give it, so the two cannot
coexist.
*/}}
{{- define "canary-demo.fullname" -}}
{{- $name := include "canary-demo.name" . -}}
{{- $release := .Release.Name -}}
{{- $override := .Values.fullnameOverride -}}
{{- if not .Values.stable.enabled -}}
{{- $release = trimSuffix "-canary" $release -}}
{{- $override = trimSuffix "-canary" $override -}}
{{- end -}}
{{- if $override -}}
{{- $override | trunc 56 | trimSuffix "-" -}}
{{- else if contains $name $release -}}
{{- $release | trunc 56 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" $release $name | trunc 56 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/*
The tracks to render, as a JSON list: stable and canary, each if it is enabled. Templates range over it, so that the tracks
differ only in these fields.
*/}}
{{- define "canary-demo.tracks" -}}
{{- $fullname := include "canary-demo.fullname" . -}}
{{- $tracks := list -}}
{{- if .Values.stable.enabled -}}
{{- $tracks = append $tracks (dict "name" "stable" "fullname" $fullname "tag" .Values.image.tag "replicas" .Values.replicaCount "config" .Values.config.main) -}}
{{- end -}}
{{- if .Values.canary.enabled -}}
{{- $canary := .Values.canary -}}
{{- $tracks = append $tracks (dict "name" "canary" "fullname" (printf "%s-canary" $fullname) "tag" $canary.image.tag "replicas" $canary.replicaCount "config" .Values.config.canary) -}}
{{- end -}}
{{- toJson $tracks -}}
{{- end -}}

{{/* Labels that select a track's pods. They must never change: a Deployment's selector is immutable. */}}
{{- define "canary-demo.selector" -}}
app.kubernetes.io/name: {{ include "canary-demo.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
track: {{ .track.name }}
{{- end -}}

{{/*
Labels of a track's pods. They may change from revision to revision only if the track does: a new label restarts the pods, and
makes backout see different content.
*/}}
{{- define "canary-demo.podLabels" -}}
{{ include "canary-demo.selector" . }}
app.kubernetes.io/version: {{ .track.tag | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/* Labels of a track's objects. An object for both tracks has those of the first track, without its name. */}}
{{- define "canary-demo.labels" -}}
{{ include "canary-demo.podLabels" . }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Data of a track's ConfigMap. The pods carry its checksum, so that they restart when it changes, and only then. */}}
{{- define "canary-demo.configData" -}}
appColor: {{ .track.config.appColor | quote }}
welcomeMessage: {{ .track.config.welcomeMessage | default (printf "Hello from version %s" .track.tag) | quote }}
{{- end -}}
